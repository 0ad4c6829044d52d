"""Made product pictures with true captions: what a captioner is shown and tested with.

Whatever a caption says of colour, pattern, material, article, view and background is drawn, so that what a model names rightly can be
counted. Grouped by ``pair`` (colour and article), the test rows hold combinations that training never saw.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Any

from luthier.catalog import product_drawing
from luthier.catalog.grammar import Piece, expand, load, pick


@cache
def _phrases() -> dict[str, Any]:
    return load("product_pictures")


def rows(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """``count`` pictures; the first ones are the same however many are asked for.

    A row: ``image`` (PNG, 96 x 96), ``caption``, ``article``, ``colour``, ``pattern``, ``material``, ``view``, ``background``,
    ``pair`` (``red shirt``).
    """
    for number in range(count):
        random = Random(f"{seed}-pictures-{number}")
        shown = scene(random)
        picture = io.BytesIO()
        product_drawing.draw(**shown, random=random).save(picture, "PNG", compress_level=1)
        yield {
            "image": picture.getvalue(),
            "caption": caption(shown, random),
            **shown,
            "pair": f"{shown['colour']} {shown['article']}",
        }


def scene(random: Random) -> dict[str, str]:
    """What a picture shows, each thing by its name."""
    article = pick(random, list(product_drawing.ARTICLES))
    return {
        "article": article,
        "colour": pick(random, list(product_drawing.COLOURS)),
        "pattern": pick(random, product_drawing.PATTERNS),
        "material": pick(random, _phrases()["materials"][article]),
        "view": pick(random, product_drawing.VIEWS),
        "background": pick(random, product_drawing.BACKGROUNDS),
    }


def caption(shown: dict[str, str], random: Random) -> str:
    """A sentence that is true of what is shown; it always names colour and article, the rest often."""
    phrases = _phrases()
    thing = _thing(shown, random)
    values = {
        "thing": thing,
        "a": _a(thing),
        "A": _a(thing).capitalize(),
        "place": pick(random, phrases["places"][shown["background"]]),
        "view": pick(random, phrases["views"][shown["view"]]),
    }
    return "".join(piece.text for piece in expand(pick(random, phrases["captions"]), random, {}, lambda name: Piece(values[name], name)))


def _thing(shown: dict[str, str], random: Random) -> str:
    said = _phrases()["patterns"][shown["pattern"]]
    before, behind = (pick(random, said["before"]), "") if random.random() < 0.7 else ("", pick(random, said["behind"]))
    material = shown["material"] if random.random() < 0.5 else ""
    return " ".join(word for word in (before, shown["colour"], material, shown["article"], behind) if word)


def _a(thing: str) -> str:
    """The indefinite article. Letters decide, which is right for every word here."""
    return "an" if thing[0] in "aeiou" else "a"
