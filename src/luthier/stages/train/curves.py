"""Loss and metric curves as a picture: plain SVG, written by hand so that equal curves are equal files."""

from __future__ import annotations

from html import escape

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 720, 300, 60, 40, 40
COLOURS = ("#2563eb", "#dc2626", "#059669", "#9333ea")


def picture(curves: dict[str, list[dict[str, float]]], title: str) -> str:
    """An SVG with the losses on the left and the other figures of each epoch on the right. ``curves`` is what ``FitResult.curves``
    holds."""
    names = sorted({key for point in curves["epochs"] for key in point} - {"step", "epoch"})
    losses = {"training loss": _line(curves["steps"], "loss")}
    losses |= {"validation loss": _line(curves["epochs"], "validation_loss")} if "validation_loss" in names else {}
    metrics = {name: _line(curves["epochs"], name) for name in names if name != "validation_loss"}
    panels = [_panel(losses, 0)] + ([_panel(metrics, WIDTH)] if metrics else [])
    width = WIDTH * len(panels)
    size = f'width="{width}" height="{HEIGHT}" viewBox="0 0 {width} {HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
    ground = f'<rect width="{width}" height="{HEIGHT}" fill="white"/>'
    return f'{head}{ground}<text x="{LEFT}" y="18" font-weight="bold">{escape(title)}</text>{"".join(panels)}</svg>\n'


def _line(points: list[dict[str, float]], name: str) -> list[tuple[float, float]]:
    return [(point["epoch"], point[name]) for point in points if name in point]


def _panel(lines: dict[str, list[tuple[float, float]]], left: int) -> str:
    every = [point for line in lines.values() for point in line] or [(0.0, 0.0)]
    most_x = max(x for x, _ in every) or 1.0
    low, high = min(y for _, y in every), max(y for _, y in every)
    high = high if high > low else low + 1.0

    def at(x: float, y: float) -> str:
        across = left + LEFT + x / most_x * (WIDTH - LEFT - 20)
        down = TOP + (high - y) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return f"{across:.1f},{down:.1f}"

    parts = [_axes(left, low, high, most_x)]
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{" ".join(at(x, y) for x, y in line)}"/>')
        parts.append(f'<text x="{left + LEFT + 20 + 150 * number}" y="34" fill="{colour}">{escape(name)}</text>')
    return "".join(parts)


def _axes(left: int, low: float, high: float, most_x: float) -> str:
    bottom = HEIGHT - BOTTOM
    parts = [f'<path d="M{left + LEFT},{TOP} V{bottom} H{left + WIDTH - 20}" fill="none" stroke="#999"/>']
    for share in (0.0, 0.5, 1.0):
        down = bottom - share * (bottom - TOP)
        parts.append(
            f'<text x="{left + LEFT - 6}" y="{down + 4:.1f}" text-anchor="end" fill="#555">{low + share * (high - low):.4g}</text>'
        )
        across = left + LEFT + share * (WIDTH - LEFT - 20)
        parts.append(f'<text x="{across:.1f}" y="{bottom + 18}" text-anchor="middle" fill="#555">{share * most_x:.3g}</text>')
    parts.append(f'<text x="{left + LEFT + (WIDTH - LEFT) // 2}" y="{HEIGHT - 6}" text-anchor="middle" fill="#555">epoch</text>')
    return "".join(parts)
