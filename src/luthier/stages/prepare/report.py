"""Writes the report as one HTML page that opens from the disk: no script, no network, light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

_STYLE = """
:root{--ink:#1c1f24;--soft:#5d6672;--line:#e2e5ea;--paper:#fff;--card:#f7f8fa;--bar:#3b6fd4;--good:#1d7f4e;--warn:#a15c00;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#9aa3af;--line:#30353d;--paper:#15181c;--card:#1d2126;--bar:#7aa2f0;--good:#6cc99a;--warn:#e6b35c;--bad:#f2958e}}
*{box-sizing:border-box}body{margin:0 auto;padding:32px 20px;max-width:960px;
 font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
h1{font-size:26px;margin:0 0 4px}h2{font-size:18px;margin:36px 0 10px}p{margin:6px 0}.soft{color:var(--soft)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:10px;margin:18px 0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px}
.tile b{display:block;font-size:22px;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:13px}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:5px 10px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--soft);font-weight:500;font-size:13px}
td.n,th.n{text-align:right}.bar{height:10px;background:var(--bar);border-radius:3px;min-width:1px}.good{color:var(--good)}.warn{color:var(--warn)}.bad{color:var(--bad)}
.note{border-left:3px solid var(--warn);padding:4px 12px;margin:8px 0;background:var(--card)}.note.info{border-color:var(--bar)}
code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}svg{width:100%;height:auto;display:block}
svg rect{fill:var(--bar)}svg text{fill:var(--soft);font:11px system-ui,sans-serif}
"""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A table; cells are HTML already. ``numbers``: columns set to the right."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(f"<{tag}{' class=n' if number in numbers else ''}>{cell}</{tag}>" for number, cell in enumerate(row))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells('th', head)}</tr></thead><tbody>{body}</tbody></table>"


def _balance(labels: dict[str, dict[str, int]]) -> str:
    train = labels["train"]
    most = max(train.values(), default=1)
    shown = list(train.items())
    cut = shown if len(shown) <= 120 else [*shown[:60], *shown[-60:]]
    rows = [
        (
            escape(label),
            f'<div class="bar" style="width:{100 * count / most:.1f}%"></div>',
            *(f"{labels[split].get(label, 0):,}" for split in ("train", "validation", "test")),
        )
        for label, count in cut
    ]
    ratio = most / max(1, min(train.values(), default=1))
    said = f"{len(train)} classes; the largest has {ratio:.1f} times the rows of the smallest." + (
        " The 60 largest and smallest:" if len(cut) < len(shown) else ""
    )
    return f'<p class="soft">{said}</p>' + _table(("class", "training rows", "train", "validation", "test"), rows, (2, 3, 4))


def _lengths(lengths: dict[str, Any]) -> str:
    counts, edges = lengths["histogram"]["counts"], lengths["histogram"]["edges"]
    most, step = max([1.0, *counts]), 900 / max(1, len(counts))
    bars = []
    for number, count in enumerate(counts):
        height = 150 * count / most
        title = f"{edges[number]:.0f} to {edges[number + 1]:.0f}: {count:.0f} rows"
        bars.append(
            f'<rect x="{number * step:.1f}" y="{160 - height:.1f}" width="{max(1, step - 2):.1f}" height="{height:.1f}" rx="2">'
            f"<title>{title}</title></rect>"
        )
        if number % max(1, len(counts) // 12) == 0:
            bars.append(f'<text x="{number * step:.1f}" y="176">{edges[number]:.0f}</text>')
    quantiles = lengths["quantiles"]
    half, most_have, longest = (f"{quantiles[q]:.0f}" for q in ("0.5", "0.95", "1.0"))
    said = f"{lengths['unit']} in {lengths['rows']:,} training rows: half have {half} at most, 95 % {most_have}, the longest {longest}."
    table = _table(
        ("cut at", "rows that lose text"), [(f"{int(limit):,}", f"{share:.2%}") for limit, share in lengths["truncation"].items()], (0, 1)
    )
    picture = f'<svg viewBox="0 0 900 182" role="img" aria-label="histogram of lengths">{"".join(bars)}</svg>'
    return f'<p class="soft">{said}</p>{picture}<h2>Truncation</h2>{table}'


def _leakage(found: dict[str, Any]) -> str:
    if not found["test_given"]:
        word = '<b class="good">passed</b>' if found["passed"] else '<b class="bad">not passed</b>'
        pairs, groups = found["straddling_pairs"], found["groups"]
        said = f"the splits were made here; {pairs} near-duplicate pairs and {groups} groups straddle them"
        if found["units_sampled"]:
            said += f". In {found['units_sampled']} large sets of near-duplicates that were cut, a sample of the pairs was compared"
        return f"<p>{word}: {said}.</p>"
    if found["passed"]:
        return f'<p><b class="good">passed</b>: none of the {found["of"]:,} test rows is shared with training.</p>'
    kinds = f"{found['exact']:,} exact, {found['near']:,} near-duplicates, {found['groups']:,} groups"
    said = f"{found['rows']:,} of {found['of']:,} test rows are shared with training: {kinds}"
    rows = [
        (
            f"<code>{escape(pair['second'])}</code>",
            f"<code>{escape(pair['first'])}</code>",
            "same group" if pair.get("group") else f"{pair['similarity']:.2f}",
        )
        for pair in found["pairs"][:20]
    ]
    return (
        f'<p><b class="warn">allowed by prepare.allow_leakage</b>: {said}. Figures on this test set are too good by as much.</p>'
        + _table(("test row", "training row", "similarity"), rows, (2,))
    )


def _plain(counts: dict[str, Any], head: tuple[str, str], empty: str) -> str:
    rows = [(escape(str(name)), f"{value:,}" if isinstance(value, int) else f"{value:.1%}") for name, value in counts.items() if value]
    return _table(head, rows, (1,)) if rows else f'<p class="soft">{empty}</p>'


def _findings(findings: list[dict[str, Any]]) -> str:
    notes = [
        f'<div class="note {finding["level"]}"><b>{escape(finding["message"])}</b>'
        + (f'<br><span class="soft">{escape(finding["remedy"])}</span>' if finding["remedy"] else "")
        + "</div>"
        for finding in findings
    ]
    return "".join(notes) or '<p class="soft">Nothing to look at.</p>'


def _duplicates(found: dict[str, Any]) -> str:
    near = f"{found['near']:,} near-duplicates at an estimated similarity of {found['threshold']} or more"
    said = f"{found['exact']:,} exact ({found['exact_dropped']:,} dropped), {near}"
    rows = [tuple(f"<code>{escape(place)}</code>" for place in pair) for pair in found["pairs"]]
    return f"<p>{said}; near-duplicates are kept, on one side of every split.</p>" + (_table(("row", "is much like"), rows) if rows else "")


def _suspicious(found: dict[str, Any]) -> str:
    rows = [(f"<code>{escape(row['place'])}</code>", ", ".join(row["kinds"]), escape(row["text"])) for row in found["rows"]]
    return _plain(found["counts"], ("what is odd", "rows"), "No odd row.") + (_table(("row", "why", "text (masked)"), rows) if rows else "")


def as_html(facts: dict[str, Any]) -> str:
    """The page."""
    tiles = {
        "rows read": facts["rows"], "refused": facts["refused"], "classes": len(facts["labels"]["train"]),
        **facts["splits"], "masked": sum(facts["masking"]["counts"].values()),
    }  # fmt: skip
    read = [
        (
            escape(fact["title"]),
            fact["role"],
            fact["format"],
            fact["encoding"],
            escape(", ".join(f"{task} = {column}" for task, column in fact["columns"].items())),
            f"{fact['rows']:,}",
            f"{fact['refused']:,}",
        )
        for fact in facts["files"]
    ]
    sections = (
        ("To look at", _findings(facts["findings"])),
        ("Files", _table(("file", "for", "format", "encoding", "columns", "rows", "refused"), read, (5, 6))),
        ("Class balance", _balance(facts["labels"])),
        (f"Length in {facts['lengths']['unit']}", _lengths(facts["lengths"])),
        (
            "Personal data",
            _plain(facts["masking"]["counts"], ("kind", "masked"), "None found." if facts["masking"]["on"] else "Masking is off."),
        ),
        ("Duplicates", _duplicates(facts["duplicates"])),
        ("Leakage", _leakage(facts["leakage"])),
        ("Languages", _plain(facts["languages"], ("language", "share of a sample"), "Not known.")),
        ("Odd rows", _suspicious(facts["suspicious"])),
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Dataset report</title><style>{_STYLE}</style><h1>Dataset report</h1>"
        f'<p class="soft">Task {escape(facts["task"])}. The same figures: report.json. Refused rows: refused.jsonl.</p>'
        '<div class="tiles">'
        + "".join(f'<div class="tile"><b>{value:,}</b><span>{name}</span></div>' for name, value in tiles.items())
        + "</div>"
        + "".join(f"<h2>{title}</h2>{body}" for title, body in sections)
        + "</html>\n"
    )
