"""A load test as a page: latency against load as SVG, and the table of its steps; one file that opens from the disk and asks nobody."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 400, 66, 24, 40, 52
COLOURS = {"p50": "#059669", "p95": "#2563eb", "p99": "#9333ea"}
MISSED = "#dc2626"
GROUND, SOFT = "#ffffff", "#6b6f7a"
COLUMNS = ("load/s", "answered/s", "requests", "p50 ms", "p95 ms", "p99 ms", "errors", "late ms", "core", "result")
"""``late ms``: how late the generator itself was (95th percentile); ``core``: the share of one that it used."""

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:920px;margin:36px auto;padding:0 20px;color:#23252b;background:#faf9f6}
svg{width:100%;height:auto;border:1px solid #e6e3dc;border-radius:10px} table{border-collapse:collapse;width:100%;font-size:13.5px}
th,td{text-align:right;padding:5px 8px;border-bottom:1px solid #e6e3dc} th:last-child,td:last-child{text-align:left}
li,.soft{color:#6b6f7a}"""


def page(said: dict[str, Any]) -> str:
    """HTML of what ``Load.as_json`` says; equal results are equal files."""
    title = f"{said['endpoint']}: load"
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style></head>'
    notes = "".join(f"<li>{escape(note)}</li>" for note in said["notes"])
    steps = f"{said['clients']} connections, steps of {said['step_s']:g} s, seed {said['seed']}"
    about = f"{escape(said['url'])}, {steps}; one connection alone {said['alone_ms']:g} ms"
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row(step))}</tr>" for step in ordered(said["steps"]))
    heads = "".join(f"<th>{escape(name)}</th>" for name in COLUMNS)
    body = f"<h1>{escape(title)}</h1><p>{escape(verdict(said))}</p><p class='soft'>{about}</p>{picture(said)}<ul>{notes}</ul>"
    return f"{head}<body>{body}<table><tr>{heads}</tr>{rows}</table></body></html>\n"


def verdict(said: dict[str, Any]) -> str:
    """The result in a sentence."""
    wanted = ", ".join(said["objectives"])
    if not said["best_per_s"]:
        return f"no load that was tried stays within {wanted}"
    most = "at least " if said["limited_by"] != "server" else ""
    return f"{most}{said['best_per_s']:,.4g} requests/s stay within {wanted}; at most {said['most_answered_per_s']:,.4g}/s were answered"


def row(step: dict[str, Any]) -> list[str]:
    """A step's cells under ``COLUMNS``; ">" where requests were never answered, so that the quantile is only a lower bound."""
    more = ">" if step["unanswered"] else ""
    times = [f"{more if name != 'p50' else ''}{step[f'{name}_ms']:,.1f}" for name in COLOURS]
    own = step["generator"]
    result = "within" if not step["missed"] else f"misses {', '.join(step['missed'])}" + (" (generator behind)" if step["behind"] else "")
    counts = [f"{step['rate_per_s']:,.4g}", f"{step['answered_per_s']:,.4g}", f"{step['requests']:,}"]
    return [*counts, *times, f"{step['errors']:.2%}", f"{own['late_p95_ms']:.1f}", f"{own['cpu_share']:.0%}", result]


def ordered(steps: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """By load."""
    return sorted(steps, key=lambda step: float(step["rate_per_s"]))


def picture(said: dict[str, Any]) -> str:
    """Latency against load, both on logarithmic axes, with the objectives as dashed lines and the best load as an upright one."""
    steps = [step for step in ordered(said["steps"]) if step["p50_ms"]]
    limits = {
        name: float(limit.removesuffix("ms")) for name, _, limit in (one.partition("=") for one in said["objectives"]) if name in COLOURS
    }
    times = [step[f"{name}_ms"] for step in steps for name in COLOURS] + list(limits.values())
    across, up = _Scale([step["rate_per_s"] for step in steps], LEFT, WIDTH - RIGHT), _Scale(times, HEIGHT - BOTTOM, TOP)
    parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{GROUND}"/>', _grid(across, up)]
    for number, (name, colour) in enumerate(COLOURS.items()):
        points = [(across(step["rate_per_s"]), up(step[f"{name}_ms"])) for step in steps]
        parts.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'
        )
        parts += [_dot(x, y, MISSED if step["missed"] else colour) for step, (x, y) in zip(steps, points, strict=True)]
        parts.append(f'<text x="{LEFT + 10 + 60 * number}" y="24" fill="{colour}" font-weight="bold">{name}</text>')
        if name in limits:
            y = up(limits[name])
            parts.append(f'<path d="M{LEFT},{y:.1f} H{WIDTH - RIGHT}" stroke="{colour}" stroke-dasharray="6 4"/>')
    if said["best_per_s"] and steps:
        x = across(said["best_per_s"])
        parts.append(f'<path d="M{x:.1f},{TOP} V{HEIGHT - BOTTOM}" stroke="{SOFT}" stroke-dasharray="2 3"/>')
        parts.append(f'<text x="{x:.1f}" y="{TOP - 4}" text-anchor="middle" fill="{SOFT}">{said["best_per_s"]:,.4g}/s</text>')
    label = "latency in milliseconds against requests a second"
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" role="img" aria-label="{label}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(parts)}</svg>'


class _Scale:
    """A logarithmic axis from pixel ``low`` to pixel ``high``."""

    def __init__(self, values: Sequence[float], low: float, high: float) -> None:
        known = [value for value in values if value > 0] or [1.0]
        self.least, self.most = min(known) / 1.15, max(known) * 1.15
        self.low, self.high = low, high

    def __call__(self, value: float) -> float:
        share = math.log(max(value, self.least) / self.least) / math.log(self.most / self.least)
        return self.low + share * (self.high - self.low)

    def ticks(self) -> list[float]:
        """1, 2 and 5 of each power of ten inside."""
        powers = range(math.floor(math.log10(self.least)), math.ceil(math.log10(self.most)) + 1)
        return [factor * 10.0**power for power in powers for factor in (1, 2, 5) if self.least <= factor * 10.0**power <= self.most]


def _grid(across: _Scale, up: _Scale) -> str:
    bottom, parts = HEIGHT - BOTTOM, []
    for value in across.ticks():
        x = across(value)
        parts.append(f'<path d="M{x:.1f},{TOP} V{bottom}" stroke="#eeeae2"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" fill="{SOFT}">{value:g}</text>')
    for value in up.ticks():
        y = up(value)
        parts.append(f'<path d="M{LEFT},{y:.1f} H{WIDTH - RIGHT}" stroke="#eeeae2"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="{SOFT}">{value:g}</text>')
    middle = (TOP + bottom) / 2
    parts.append(
        f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 10}" text-anchor="middle" fill="{SOFT}">requests a second (offered)</text>'
    )
    turn = f'transform="rotate(-90 16 {middle:.0f})"'
    parts.append(f'<text x="16" y="{middle:.0f}" text-anchor="middle" fill="{SOFT}" {turn}>milliseconds from the intended arrival</text>')
    return "".join(parts)


def _dot(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'
