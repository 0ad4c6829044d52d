"""Events as a person in a terminal wants them: a progress bar with time left for each stage, and the notes that matter."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

from luthier.core import events
from luthier.core.events import Event

_MARKS = {"info": "[dim]·[/dim]", "warning": "[yellow]![/yellow]", "error": "[red]✗[/red]"}


def duration(seconds: float) -> str:
    """``4.2 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if not math.isfinite(seconds):
        return "unknown"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _short(key: str, value: float) -> str:
    if key == "mfu":
        return f"mfu {value:.0%}"
    if key.endswith("_per_s"):
        return f"{value:,.0f} {key.removesuffix('_per_s')}/s"
    return f"{key.replace('_', ' ')} {value:.4g}"


def _plain(text: str) -> str:
    """The text with brackets that rich would take for markup escaped."""
    from rich.markup import escape

    return escape(text)


class _Screen:
    """One progress display; ``take`` is called from any thread."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self.lock = threading.Lock()
        self.console = Console(stderr=True)
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.fields[stage]:<9}[/bold]"),
            TextColumn("{task.description:<18.18}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("[cyan]{task.fields[left]}[/cyan]"),
            TextColumn("[dim]{task.fields[figures]}[/dim]"),
            console=self.console,
            transient=True,
        )
        self.bar: Any = None
        self.phase = ("", "")
        self.started = 0.0

    def take(self, event: Event) -> None:
        """Shows one event."""
        handler = getattr(self, "_" + event.name.replace(".", "_"), None)
        if handler:
            with self.lock:
                handler(event)

    def _stage_progressed(self, event: events.StageProgressed) -> None:
        if (event.stage, event.phase) != self.phase:
            self._clear()
            self.phase, self.started = (event.stage, event.phase), time.monotonic()
            self.bar = self.progress.add_task(event.phase, total=event.total or None, stage=_plain(event.stage), left="", figures="")
            self.progress.start()
        figures = "  ".join(_short(k, v) for k, v in event.figures.items())
        self.progress.update(self.bar, completed=event.done, total=event.total or None, left=self._left(event), figures=_plain(figures))

    def _left(self, event: events.StageProgressed) -> str:
        left = event.left_s
        if left is None and event.done and event.total:
            left = (time.monotonic() - self.started) * (event.total - event.done) / event.done
        return f"{duration(left)} left" if left is not None else ""

    def _clear(self) -> None:
        if self.bar is not None:
            self.progress.remove_task(self.bar)
            self.progress.stop()
            self.bar = None
        self.phase = ("", "")

    def _line(self, text: str) -> None:
        self.console.print(text, highlight=False)

    def _note_said(self, event: events.NoteSaid) -> None:
        self._line(f"  {_MARKS[event.level]} {_plain(event.text)}")

    def _prediction_made(self, event: events.PredictionMade) -> None:
        memory = f", {event.memory_bytes / 2**30:.1f} GiB of memory" if event.memory_bytes else ""
        self._line(f"  [dim]·[/dim] expected: {duration(event.wall_s)}{memory}")

    def _step_finished(self, event: events.StepFinished) -> None:
        figures = "  ".join(_short(k, v) for k, v in event.figures.items())
        self._line(f"  [dim]·[/dim] epoch {event.epoch:.3g}, step {event.step}: {_plain(figures)}")

    def _checkpoint_refused(self, event: events.CheckpointRefused) -> None:
        self._line(f"  [yellow]![/yellow] {_plain(event.path)} is damaged ({_plain(event.reason)}): the one before it is used")

    def _job_reused(self, event: events.JobReused) -> None:
        self._line(f"[green]✓[/green] [bold]{_plain(event.stage)}[/bold] [dim]done before: {_plain(event.artifact)}[/dim]")

    def _stage_finished(self, event: events.StageFinished) -> None:
        self._clear()
        summary = ", ".join(f"{k.replace('_', ' ')} {_value(v)}" for k, v in event.summary.items() if _value(v))
        self._line(f"[green]✓[/green] [bold]{_plain(event.stage)}[/bold] in {duration(event.seconds)}  [dim]{_plain(summary)}[/dim]")

    def _stage_failed(self, event: events.StageFailed) -> None:
        self._clear()

    def _gate_decided(self, event: events.GateDecided) -> None:
        mark = "[green]✓[/green]" if event.passed else "[red]✗[/red]"
        self._line(f"{mark} [bold]gate {_plain(event.gate)}[/bold]  " + _plain("; ".join(event.reasons)))

    def _run_finished(self, event: events.RunFinished) -> None:
        self._clear()


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        inside = ", ".join(f"{k} {_value(v)}" for k, v in list(value.items())[:6] if not isinstance(v, dict | list))
        return f"({inside})" if inside else ""
    return "" if isinstance(value, list) else str(value)


class Terminal:
    """See the module."""

    name = "terminal"
    summary = "progress bars with time left, and notes, for a person in a terminal"

    def open(self, target: str) -> Callable[[Event], None]:
        """``target`` is not used."""
        return _Screen().take


plugin = Terminal()
