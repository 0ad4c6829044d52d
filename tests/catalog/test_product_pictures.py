"""Made product pictures: the same each time, true captions, every combination, and colours that are really there."""

from __future__ import annotations

import hashlib
import io
import time
from collections import Counter
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
import pytest
from PIL import Image

from luthier.catalog import made, product_drawing, product_pictures
from luthier.catalog.product_drawing import ARTICLES, BACKGROUNDS, COLOURS, PATTERNS, VIEWS

FORMS = {"striped": "stripes", "dotted": "dots", "checked": "checks"}


@cache
def _rows() -> list[dict[str, Any]]:
    return list(made.make("product-pictures", 300, 7))


def _pixels(row: dict[str, Any]) -> Any:
    with Image.open(io.BytesIO(row["image"])) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (product_drawing.SIZE, product_drawing.SIZE))
        return np.asarray(image).astype(int)


def test_the_same_pictures_each_time_and_a_longer_set_begins_with_the_shorter() -> None:
    assert list(islice(made.make("product-pictures", 500, 7), 20)) == _rows()[:20]
    assert next(made.make("product-pictures", 1, 8))["image"] != _rows()[0]["image"]
    assert len({hashlib.sha256(row["image"]).digest() for row in _rows()}) == 300


def test_everything_is_drawn_and_nothing_is_rare() -> None:
    assert len(ARTICLES) >= 10
    assert len(COLOURS) >= 8
    for column, values in (("article", ARTICLES), ("colour", COLOURS), ("pattern", PATTERNS), ("view", VIEWS), ("background", BACKGROUNDS)):
        counts = Counter(row[column] for row in _rows())
        assert set(counts) == set(values)
        assert min(counts.values()) > 300 / len(values) / 3
    assert len({row["pair"] for row in _rows()}) > 100


def test_captions_are_true_and_name_no_other_value() -> None:
    for row in _rows():
        words = set(row["caption"].lower().strip(".").replace(",", "").split())
        assert {row["article"], row["colour"]} <= words
        assert words & set(ARTICLES) == {row["article"]}
        assert words & set(COLOURS) == {row["colour"]}
        named = {name for name in PATTERNS if {name, FORMS.get(name, name)} & words}
        assert named <= {row["pattern"]}, row
        if row["pattern"] != "plain":
            assert named, row
        assert "{" not in row["caption"]
        assert row["pair"] == f"{row['colour']} {row['article']}"
    assert len({row["caption"].split()[0] for row in _rows()}) > 4
    assert any(row["caption"].startswith("An orange") for row in made.make("product-pictures", 400, 9))


@pytest.mark.parametrize("article", sorted(ARTICLES))
def test_a_plain_article_has_the_colour_that_it_is_said_to_have(article: str) -> None:
    """In the middle of the picture, nearest of all named colours to that one, in whatever material and light."""
    from random import Random

    for material in product_pictures._phrases()["materials"][article]:
        right = 0
        for number, (colour, tint) in enumerate(COLOURS.items()):
            picture = product_drawing.draw(article, colour, "plain", material, "close", "studio", Random(number))
            pixels = np.asarray(picture).reshape(-1, 3).astype(int)
            near = (np.abs(pixels - np.array(tint)).max(axis=1) < 60).mean()
            right += bool(near > 0.06)
        assert right >= len(COLOURS) - 1, material


def test_patterns_change_the_picture() -> None:
    from random import Random

    seen = {pattern: product_drawing.draw("shirt", "red", pattern, "cotton", "front", "wall", Random(1)).tobytes() for pattern in PATTERNS}
    assert len(set(seen.values())) == len(PATTERNS)


def test_fast() -> None:
    next(made.make("product-pictures", 1, 1))
    started = time.process_time()
    assert sum(1 for _ in made.make("product-pictures", 200, 1)) == 200
    assert time.process_time() - started < 2, "200 pictures a second when the machine is quiet; half of that is a defect"
