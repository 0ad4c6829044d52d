"""Draws one product: an article's outline, filled with a colour, a pattern and a material, in a view, on a background.

Shapes are given in a unit square and drawn at twice the size with Pillow, then halved, which smooths their edges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from math import cos, radians, sin
from random import Random
from typing import Any

from luthier.catalog.grammar import load, pick

SIZE = 96
"""Pixels a side."""
_S = 2 * SIZE
_SHADOW = [value * 2 // 5 for value in range(256)]

ARTICLES: dict[str, dict[str, list[list[Any]]]] = load("product_shapes")
"""Of each article the shapes of its ``body``, the ``lines`` on it, and ``parts`` that keep a colour of their own."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (205, 28, 36), "orange": (242, 132, 20), "yellow": (247, 215, 40), "green": (40, 145, 60), "blue": (30, 80, 200),
    "purple": (120, 45, 160), "pink": (245, 140, 185), "brown": (115, 68, 35), "black": (30, 30, 34), "white": (246, 246, 244),
    "grey": (135, 138, 142),
}  # fmt: skip
PATTERNS = ("plain", "striped", "dotted", "checked", "zigzag")
VIEWS = ("front", "angle", "close")
BACKGROUNDS = ("wall", "table", "grass", "tiles", "studio")


def draw(article: str, colour: str, pattern: str, material: str, view: str, background: str, random: Random) -> Any:
    """The picture, RGB. All chance (place, size, turn, shade, light) comes from ``random``."""
    from PIL import Image

    cloth = _article(article, _shifted(COLOURS[colour], random, 14), pattern, material, random)
    matrix, bright = _placed(view, random), 0.84 + 0.16 * random.random()
    # Colours and outline are turned apart, so that no edge is darkened by what lies outside.
    turned = cloth.transform((_S, _S), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR).reduce(2)
    mask = _mask(article).transform((_S, _S), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR).reduce(2)
    picture = _scene(background, int(random.random() * 4), int(bright * 16))
    picture.paste((40, 38, 36), (3, 3), mask.crop((0, 0, SIZE - 3, SIZE - 3)).point(_SHADOW))
    picture.paste(turned, (0, 0), mask)
    return picture


def _article(article: str, tint: tuple[int, int, int], pattern: str, material: str, random: Random) -> Any:
    """The article's colours over the whole square, RGB; what lies outside its outline means nothing."""
    from PIL import ImageChops, ImageDraw

    parts = ARTICLES[article]
    cloth = ImageChops.multiply(_patterned(tint, pattern, random), _texture(material))
    pen = ImageDraw.Draw(cloth)
    dark = tuple(int(0.55 * value) for value in tint) if sum(tint) > 150 else (85, 85, 90)
    for kind, *numbers in parts["lines"]:
        _draw(pen, kind, numbers, dark, width=3)
    cloth.paste(dark, (0, 0), _edge(article))
    if "parts" in parts:
        cloth.paste((70, 62, 55) if sum(tint) > 260 else (170, 165, 158), (0, 0), _mask(article, own=True))
    return cloth


@cache
def _mask(article: str, *, own: bool = False) -> Any:
    """Where the article is (``own``: where the parts are that keep their own colour), L."""
    from PIL import Image, ImageDraw

    found = Image.new("L", (_S, _S))
    pen = ImageDraw.Draw(found)
    parts = ARTICLES[article]
    for kind, *numbers in [*([] if own else parts["body"]), *parts.get("parts", [])]:
        _draw(pen, kind, numbers, 255, width=3)
    return found


@cache
def _edge(article: str) -> Any:
    """Its outline, two pixels wide, L."""
    from PIL import ImageChops, ImageFilter

    whole = _mask(article)
    return ImageChops.subtract(whole, whole.filter(ImageFilter.MinFilter(5)))


def _draw(pen: Any, kind: str, numbers: Sequence[float], fill: Any, *, width: int) -> None:
    scaled = [number * _S for number in numbers]
    if kind == "polygon":
        pen.polygon(scaled, fill=fill)
    elif kind == "line":
        odd = len(scaled) % 2
        pen.line(scaled[:-1] if odd else scaled, fill=fill, width=round(scaled[-1]) if odd else width)
    elif kind == "rounded":
        pen.rounded_rectangle(scaled[:4], scaled[4], fill=fill)
    elif kind in ("ellipse", "ellipse_line"):
        pen.ellipse(scaled[:4], fill=fill if kind == "ellipse" else None, outline=fill, width=width)
    elif kind == "ring":
        pen.ellipse(scaled[:4], outline=fill, width=round(scaled[4]))
    elif kind == "pie":
        pen.pieslice(scaled[:4], numbers[4], numbers[5], fill=fill)
    else:
        pen.arc(scaled[:4], numbers[4], numbers[5], fill=fill, width=round(scaled[6]) if kind == "arc" else width)


def _patterned(tint: tuple[int, int, int], pattern: str, random: Random) -> Any:
    """The colour over the whole square, with the pattern in a light tone (on light colours in a dark one)."""
    from PIL import Image, ImageDraw

    cloth = Image.new("RGB", (_S, _S), tint)
    light = sum(tint) > 560
    other = (75, 75, 80) if light else (250, 250, 246)
    pen, step, start = ImageDraw.Draw(cloth), 26 + int(random.random() * 8), int(random.random() * 14)
    across = range(start - step, _S + step, step)
    if pattern in ("striped", "checked"):
        for at in across:
            pen.rectangle((0, at, _S, at + (9 if pattern == "striped" else 5)), fill=other)
            if pattern == "checked":
                pen.rectangle((at, 0, at + 5, _S), fill=other)
    elif pattern == "dotted":
        for row, y in enumerate(across):
            for x in across:
                pen.ellipse((x + row % 2 * step // 2, y, x + row % 2 * step // 2 + 11, y + 11), fill=other)
    elif pattern == "zigzag":
        for at in across:
            pen.line([(x, at + (number % 2) * 13) for number, x in enumerate(range(0, _S + 13, 13))], fill=other, width=6)
    return cloth


def _shaded(value: Callable[[int, int], float]) -> Any:
    """An RGB image of grey values, 0 to 1, by place."""
    from PIL import Image

    pixels = bytes(max(0, min(255, round(255 * value(x, y)))) for y in range(_S) for x in range(_S))
    return Image.frombytes("L", (_S, _S), pixels).convert("RGB")


_TEXTURES: dict[str, Callable[[int, int], float]] = {
    "cotton": lambda x, y: 0.97 - 0.05 * ((x + y) % 4 == 0),
    "canvas": lambda x, y: 0.98 - 0.14 * ((x // 2 + y // 2) % 2),
    "wool": lambda x, y: 0.98 - 0.2 * ((y + abs(x % 12 - 6)) % 8 < 2),
    "silk": lambda x, y: 0.86 + 0.14 * sin((x + y) / 17.0),
    "leather": lambda x, y: 0.92 - 0.16 * ((x * 7 + y * 13) % 23 == 0) - 0.12 * (y / _S),
    "wooden": lambda x, y: 0.92 - 0.16 * (sin(y / 2.1 + 2.5 * sin(x / 37.0)) > 0.55),
    "metal": lambda x, y: 0.8 + 0.2 * sin(x / 13.0),
    "ceramic": lambda x, y: 1.0 - 0.3 * (x / _S) ** 2,
    "glass": lambda x, y: 0.82 + 0.18 * abs(2.0 * x / _S - 1.0),
    "plastic": lambda x, y: 1.0 - 0.14 * (y / _S),
    "nylon": lambda x, y: 0.9 + 0.1 * sin(x / 24.0),
}


@cache
def _texture(material: str) -> Any:
    return _shaded(_TEXTURES[material])


def _shifted(tint: tuple[int, int, int], random: Random, most: int) -> tuple[int, int, int]:
    bright = 0.93 + 0.14 * random.random()
    red, green, blue = (max(0, min(255, int(value * bright + most * (random.random() - 0.5)))) for value in tint)
    return red, green, blue


def _placed(view: str, random: Random) -> tuple[float, float, float, float, float, float]:
    """The inverse affine map from the picture to the article's square: size, turn, slant and place."""
    size = {"front": 0.7, "angle": 0.7, "close": 0.98}[view] + 0.1 * random.random()
    turn = radians(14 * random.random() - 7)
    wide, slant = (0.62 + 0.1 * random.random(), pick(random, (-0.28, 0.28))) if view == "angle" else (1.0, 0.0)
    a, b = cos(turn) / size / wide, sin(turn) / size / wide
    d, e = -sin(turn) / size + slant * a, cos(turn) / size + slant * b
    x, y = (_S * (0.5 + 0.08 * (random.random() - 0.5)) for _ in range(2))
    return a, b, _S / 2 - a * x - b * y, d, e, _S / 2 - d * x - e * y


def _scene(name: str, number: int, light: int) -> Any:
    """One of four backgrounds of a kind, in one of sixteen lights; a copy to draw on."""
    return _lit(name, number, light).copy()


@cache
def _lit(name: str, number: int, light: int) -> Any:
    return _ground(name, number).point([value * light // 16 for value in range(256)] * 3)


@cache
def _ground(name: str, number: int) -> Any:
    """One of four of each kind, in full light."""
    from PIL import Image, ImageDraw

    random = Random(f"{name}-{number}")
    ground = {
        "wall": (232, 228, 220),
        "table": (188, 146, 98),
        "grass": (112, 158, 84),
        "tiles": (206, 212, 214),
        "studio": (225, 226, 230),
    }
    scene = Image.new("RGB", (_S, _S), _shifted(ground[name], random, 22))
    pen = ImageDraw.Draw(scene)
    if name == "wall":
        pen.rectangle((0, _S - 34, _S, _S), fill=(176, 168, 158))
    elif name == "table":
        for y in range(8 + 7 * number, _S, 36):
            pen.line((0, y, _S, y + 3), fill=(142, 104, 66), width=3)
    elif name == "grass":
        for _ in range(700):
            foot, down = random.random() * _S, random.random() * _S
            pen.line((foot, down, foot + 4 * random.random() - 2, down - 9), fill=(60 + int(60 * random.random()), 128, 52), width=2)
    elif name == "tiles":
        for at in range(6 * number, _S, 44):
            pen.line((0, at, _S, at), fill=(150, 156, 160), width=3)
            pen.line((at, 0, at, _S), fill=(150, 156, 160), width=3)
    else:
        for y in range(_S):
            grey = 236 - int(76 * (y / _S) ** 2)
            pen.line((0, y, _S, y), fill=(grey, grey, min(255, grey + 4)))
    return scene.reduce(2)
