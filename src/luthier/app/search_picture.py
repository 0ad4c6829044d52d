"""A search as a picture: its values trial by trial, and against each setting; plain SVG, equal searches are equal files."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from typing import Any, NamedTuple

from luthier.core.search import Axis

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, ACROSS = 360, 240, 56, 44, 40, 3
DONE, ENDED, BEST = "#2563eb", "#9ca3af", "#dc2626"


class Dot(NamedTuple):
    """A trial in a panel: ``at`` from 0 (left) to 1 (right), its value, and its colour."""

    at: float
    value: float
    colour: str


def picture(axes: Sequence[Axis], trials: Sequence[dict[str, Any]], metric: str, title: str) -> str:
    """An SVG. A trial that was ended early stands, hollow, at the value that it had reached; failed ones are left out."""
    shown = [(trial, _value(trial)) for trial in trials]
    known = [(trial, value) for trial, value in shown if value is not None]
    values = [value for _, value in known] or [0.0]
    low, high = min(values), max(values)
    high = high if high > low else low + 1e-3
    count = max((trial["trial"] for trial in trials), default=1)
    panels = [_panel(0, "trial", ("1", str(count)), _dots(known, lambda one: (one["trial"] - 1) / max(1, count - 1)), (low, high))]
    for number, axis in enumerate(axes, 1):
        dots = _dots([one for one in known if axis.field in one[0]["values"]], partial(_across, axis))
        panels.append(_panel(number, axis.field.split(".", 1)[-1].replace("_", " "), _ends(axis), dots, (low, high)))
    wide, tall = WIDTH * min(ACROSS, len(panels)), HEIGHT * math.ceil(len(panels) / ACROSS)
    size = f'width="{wide}" height="{tall}" viewBox="0 0 {wide} {tall}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
    said = f"{escape(title)}: {escape(metric)} on validation rows"
    ground = f'<rect width="{wide}" height="{tall}" fill="white"/>'
    return f'{head}{ground}<text x="{LEFT}" y="18" font-weight="bold">{said}</text>{"".join(panels)}</svg>\n'


def place(axis: Axis, value: Any) -> float:
    """Where a value stands between the axis's ends, 0 to 1."""
    if axis.kind == "choice":
        return axis.values.index(value) / max(1, len(axis.values) - 1)
    if axis.kind == "log":
        return math.log(value / axis.low) / math.log(axis.high / axis.low)
    return (float(value) - axis.low) / (axis.high - axis.low)


def _across(axis: Axis, trial: dict[str, Any]) -> float:
    return place(axis, trial["values"][axis.field])


def _value(trial: dict[str, Any]) -> float | None:
    if trial["value"] is not None:
        return float(trial["value"])
    return float(list(trial["curve"].values())[-1]) if trial["curve"] and trial["state"] != "failed" else None


def _dots(known: Sequence[tuple[dict[str, Any], float]], across: Callable[[dict[str, Any]], float]) -> list[Dot]:
    done = [value for trial, value in known if trial["value"] is not None]
    best = max(done) if done else None
    return [Dot(across(trial), value, ENDED if trial["value"] is None else BEST if value == best else DONE) for trial, value in known]


def _panel(number: int, name: str, ends: tuple[str, str], dots: Sequence[Dot], bounds: tuple[float, float]) -> str:
    left, top = WIDTH * (number % ACROSS) + LEFT, HEIGHT * (number // ACROSS) + TOP
    wide, tall = WIDTH - LEFT - 24, HEIGHT - TOP - BOTTOM
    low, high = bounds
    parts = [f'<path d="M{left},{top} V{top + tall} H{left + wide}" fill="none" stroke="#999"/>']
    for share, value in ((1.0, low), (0.5, (low + high) / 2), (0.0, high)):
        parts.append(f'<text x="{left - 6}" y="{top + share * tall + 4:.1f}" text-anchor="end" fill="#555">{value:.4g}</text>')
    parts.append(f'<text x="{left}" y="{top + tall + 16}" fill="#555">{escape(ends[0])}</text>')
    parts.append(f'<text x="{left + wide}" y="{top + tall + 16}" text-anchor="end" fill="#555">{escape(ends[1])}</text>')
    parts.append(f'<text x="{left + wide / 2:.1f}" y="{top + tall + 30}" text-anchor="middle">{escape(name)}</text>')
    for dot in dots:
        x, y = left + dot.at * wide, top + (high - dot.value) / (high - low) * tall
        look = f'fill="none" stroke="{dot.colour}"' if dot.colour == ENDED else f'fill="{dot.colour}"'
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" {look}/>')
    return "".join(parts)


def _ends(axis: Axis) -> tuple[str, str]:
    if axis.kind == "choice":
        return str(axis.values[0]), str(axis.values[-1])
    return f"{axis.low:g}", f"{axis.high:g}"
