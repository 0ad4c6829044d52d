"""Shows a watch summary in the terminal."""

from __future__ import annotations

import time

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from luthier.stages.watch.summary import WatchSummary

MOST_LABELS = 12
BAR = 24


def render(summary: WatchSummary) -> RenderableType:
    """Rates, latency, answers, judgements and drift, for ``rich.print`` or ``rich.live``."""
    minutes = (summary.end - summary.start) / 60
    title = f"{summary.endpoint}   last {minutes:.0f} min, until {time.strftime('%H:%M:%S', time.localtime(summary.end))}"
    return Panel(Group(_figures(summary), Text(), _labels(summary), Text(), _drift(summary)), title=title, title_align="left")


def _figures(summary: WatchSummary) -> Table:
    table = Table.grid(padding=(0, 3))
    known = summary.live_accuracy == summary.live_accuracy
    reference = f" (evaluation {summary.reference_confidence:.2f})" if summary.reference_confidence == summary.reference_confidence else ""
    errors = ", ".join(f"{code} {count}" for code, count in summary.errors.items()) or "none"
    thumbs = f"{summary.thumbs.get('up', 0)} up, {summary.thumbs.get('down', 0)} down"
    accuracy = f"{summary.live_accuracy:.1%} of {summary.judged} judged" if known else "nobody has judged yet"
    table.add_row("answers", f"{summary.answers}", "rate", f"{summary.per_s:.2f}/s")
    table.add_row("p50 | p95 | p99", f"{summary.p50_ms:.1f} | {summary.p95_ms:.1f} | {summary.p99_ms:.1f} ms", "errors", errors)
    table.add_row("confidence", f"{summary.confidence:.2f}{reference}", "abstained", f"{summary.abstained:.1%}")
    table.add_row("out of scope", f"{summary.out_of_scope:.1%}", "tokens", f"{summary.tokens:.1f}")
    table.add_row("feedback", thumbs, "live accuracy", accuracy)
    for name, said in summary.mirrored.items():
        failed = f", {said['failed']:.0f} failed" if said["failed"] else ""
        table.add_row(f"mirror {name}", f"{said['answers']:.0f} copies{failed}", "agreement", f"{said['agreement']:.1%}")
    return table


def _labels(summary: WatchSummary) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("answer")
    table.add_column("share", justify="right")
    table.add_column("evaluation", justify="right")
    table.add_column("")
    for label, share in list(summary.labels.items())[:MOST_LABELS]:
        before = summary.reference_labels.get(label)
        table.add_row(Text(label), f"{share:.1%}", "" if before is None else f"{before:.1%}", "█" * round(share * BAR))
    if len(summary.labels) > MOST_LABELS:
        table.add_row(f"... {len(summary.labels) - MOST_LABELS} more", "", "", "")
    return table


def _drift(summary: WatchSummary) -> RenderableType:
    found = summary.drift
    if found.note:
        return Text(f"drift: {found.note}")
    lines = []
    for name in (key for key in found.figures if not key.endswith("_p")):
        alarm = name in found.alarms
        text = f"  {name:8} {found.figures[name]:8.3f}   p {found.figures[f'{name}_p']:.3f}   {'ALARM' if alarm else 'as before'}"
        lines.append(Text(text, style="bold red" if alarm else ""))
    promise = f"drift of {found.rows} answers (at most {found.alpha:.0%} of windows without drift raise an alarm)"
    return Group(Text(promise), *lines)
