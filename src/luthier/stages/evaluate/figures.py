"""The report's pictures as inline SVG: colours come from the page's CSS, so they follow light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

SIDE = 320
MARGIN = 42
LEFT = 56
RIGHT = 22
LEAST_ROWS = 10
"""A bin of the reliability picture with fewer rows is a dot, but the line passes it by: its share is mostly chance."""


def _axes(title_x: str, title_y: str, x_max: float = 1.0, y_max: float = 1.0) -> str:
    """A square plot's frame, grid and labels."""
    parts = []
    for step in range(6):
        share = step / 5
        x, y = _x(share), _y(share)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{_y(0):.1f}" x2="{x:.1f}" y2="{_y(1):.1f}"/>')
        parts.append(f'<line class="grid" x1="{_x(0):.1f}" y1="{y:.1f}" x2="{_x(1):.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{_y(0) + 15:.1f}" text-anchor="middle">{_short(share * x_max)}</text>')
        parts.append(f'<text class="tick" x="{_x(0) - 6:.1f}" y="{y + 3.5:.1f}" text-anchor="end">{_short(share * y_max)}</text>')
    parts.append(f'<text class="axis" x="{_x(0.5):.1f}" y="{SIDE - 4}" text-anchor="middle">{escape(title_x)}</text>')
    middle = _y(0.5)
    parts.append(
        f'<text class="axis" x="11" y="{middle:.1f}" text-anchor="middle" transform="rotate(-90 11 {middle:.1f})">{escape(title_y)}</text>'
    )
    return "".join(parts)


def _short(value: float) -> str:
    return f"{100 * value:.3g} %"


def _x(share: float) -> float:
    return LEFT + share * (SIDE - LEFT - RIGHT)


def _y(share: float) -> float:
    return SIDE - MARGIN + 6 - share * (SIDE - MARGIN - 12)


def _svg(inside: str, label: str, width: int = SIDE, height: int = SIDE) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">{inside}</svg>'


def _line(points: Sequence[tuple[float, float]], kind: str) -> str:
    path = " ".join(f"{'M' if number == 0 else 'L'}{_x(x):.1f} {_y(min(max(y, 0), 1)):.1f}" for number, (x, y) in enumerate(points))
    return f'<path class="{kind}" d="{path}"/>'


def reliability(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> str:
    """Confidence against accuracy in bins; the area of a dot follows the rows in its bin."""
    parts = [_axes("confidence", "share that is right"), _line([(0, 0), (1, 1)], "ideal")]
    for bins, kind in ((before, "faint"), (after, "main")):
        if not bins:
            continue
        most = max(one["rows"] for one in bins)
        solid = [one for one in bins if one["rows"] >= LEAST_ROWS] or bins
        parts.append(_line([(one["confidence"], one["accuracy"]) for one in solid], f"line {kind}"))
        for one in bins:
            radius = 1.5 + 7 * (one["rows"] / most) ** 0.5
            text = f"{one['rows']} rows said {one['confidence']:.1%}, right {one['accuracy']:.1%}"
            parts.append(
                f'<circle class="dot {kind}" cx="{_x(one["confidence"]):.1f}" cy="{_y(one["accuracy"]):.1f}" r="{radius:.1f}">'
                f"<title>{escape(text)}</title></circle>"
            )
    return _svg("".join(parts), "reliability: confidence against accuracy")


def coverage(points: Sequence[dict[str, float]], risk: float) -> str:
    """Error rate of the answered share against the share answered."""
    highest = max([one["error"] for one in points] + [risk * 1.5, 0.02])
    scaled = [(one["coverage"], one["error"] / highest) for one in points]
    parts = [_axes("share of rows answered", "errors among them", y_max=highest), _line(scaled, "line main")]
    parts.append(_line([(0, risk / highest), (1, risk / highest)], "ideal"))
    return _svg("".join(parts), "errors among the answered share")


def curve(data: dict[str, Sequence[float]], title_x: str, title_y: str, *, diagonal: bool) -> str:
    """A ROC or precision-recall curve."""
    ideal = _line([(0, 0), (1, 1)], "ideal") if diagonal else ""
    return _svg(_axes(title_x, title_y) + ideal + _line(list(zip(data["x"], data["y"], strict=True)), "line main"), title_y)


def threshold(points: Sequence[dict[str, float]], best: float) -> str:
    """Precision and recall of the positive class at each threshold, and the threshold of least expected cost."""
    parts = [_axes("threshold", "share")]
    parts.append(_line([(one["threshold"], one["recall"]) for one in points], "line main"))
    parts.append(_line([(one["threshold"], one["precision"]) for one in points], "line second"))
    parts.append(_line([(best, 0), (best, 1)], "ideal"))
    return _svg("".join(parts), "precision and recall by threshold")


def heat_map(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> str:
    """The confusion matrix: a row is a right class, a column an answer; shares of the row."""
    count = len(labels)
    cell = max(16, min(44, 620 // max(count, 1)))
    left = 10 + 6.4 * min(max(len(label) for label in labels), 22)
    top = left * 0.72
    parts = []
    for row, (label, counts) in enumerate(zip(labels, matrix, strict=True)):
        y, total = top + row * cell, max(sum(counts), 1)
        parts.append(f'<text class="tick" x="{left - 6:.0f}" y="{y + cell / 2 + 3.5:.1f}" text-anchor="end">{escape(label[:22])}</text>')
        turn = f"translate({left + row * cell + cell / 2 + 3:.1f} {top - 6:.1f}) rotate(-45)"
        parts.append(f'<text class="tick" transform="{turn}">{escape(label[:22])}</text>')
        for column, number in enumerate(counts):
            parts.append(
                _cell(
                    left + column * cell,
                    y,
                    cell,
                    number,
                    number / total,
                    right=row == column,
                    about=f"{label} answered as {labels[column]}",
                )
            )
    width, height = int(left + count * cell + left * 0.62), int(top + count * cell + 8)
    return _svg("".join(parts), "confusion matrix", width, height)


def _cell(x: float, y: float, cell: int, number: int, share: float, *, right: bool, about: str) -> str:
    strength = 0.08 + 0.87 * share**0.6 if number else 0.0
    kind = "right" if right else "wrong"
    text = ""
    if number and cell >= 18:
        light = " light" if strength > 0.55 else ""
        text = f'<text class="count{light}" x="{x + cell / 2 - 0.5:.1f}" y="{y + cell / 2 + 3:.1f}" text-anchor="middle">{number}</text>'
    place = f'x="{x:.1f}" y="{y:.1f}" width="{cell - 1}" height="{cell - 1}"'
    said = f"<title>{escape(about)}: {number} rows ({share:.1%})</title>"
    filled = f'<rect class="{kind}" fill-opacity="{strength:.2f}" {place} rx="2"/>'
    return f'<g>{said}<rect class="cell" {place}/>{filled}{text}</g>'


def dots(values: Sequence[float], mean: float) -> str:
    """Folds as dots on one line, with their mean."""
    low, high = min(values), max(values)
    pad = max((high - low) * 0.35, 0.005)
    low, high = low - pad, high + pad

    def at(value: float) -> float:
        return 14 + 292 * (value - low) / (high - low)

    parts = ['<line class="grid" x1="14" y1="22" x2="306" y2="22"/>']
    parts += [f'<circle class="dot main" cx="{at(value):.1f}" cy="22" r="6"><title>{value:.2%}</title></circle>' for value in values]
    parts.append(f'<line class="mean" x1="{at(mean):.1f}" y1="8" x2="{at(mean):.1f}" y2="36"/>')
    parts.append(f'<text class="tick" x="14" y="52">{low:.1%}</text><text class="tick" x="306" y="52" text-anchor="end">{high:.1%}</text>')
    return _svg("".join(parts), "the metric in each fold", 320, 58)


def range_bar(value: float, low: float, high: float) -> str:
    """A score on a line from 0 to 1 with its interval."""
    return _svg(
        '<rect class="track" x="0" y="5" width="200" height="4" rx="2"/>'
        f'<rect class="span" x="{200 * low:.1f}" y="3" width="{max(200 * (high - low), 1.5):.1f}" height="8" rx="3"/>'
        f'<circle class="dot main" cx="{min(max(200 * value, 4), 196):.1f}" cy="7" r="4"/>',
        f"{value:.3f}, between {low:.3f} and {high:.3f}",
        200,
        14,
    )
