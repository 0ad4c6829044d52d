"""Whether a caption names the product's article, colour and pattern rightly: counted word by word against what is known of the picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from luthier.core.ports import Judged
from luthier.core.types import Score
from luthier.metrics._spans import share
from luthier.metrics._texts import means, pairs

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "article": ("article", "label", "category"),
    "colour": ("colour", "color"),
    "pattern": ("pattern",),
}
"""Of each attribute the columns that may hold it, the first that a row has."""
COLOURS = (
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey", "beige", "navy", "gold", "silver",
)  # fmt: skip
_WORD = re.compile(r"[\w-]+")
_SPELLED = {"gray": "grey"}


class CaptionAttributes:
    """``attribute_f1``, ``attribute_precision`` and ``attribute_recall`` over all rows and attributes together (micro), in [0, 1], with
    each attribute's F1 as parts; ``article_accuracy``: share of the rows with a known article whose caption names it and no other.

    What is right stands in the row's columns; without such a column, in the reference. What the reference does not name need not be
    named (no recall is lost), but what is named must be right. Words count by their stem: stripes are ``striped``.
    """

    name = "caption-attributes"
    summary = "article, colour and pattern named rightly: F1, precision, recall, and the accuracy of the article"
    scores = ("attribute_f1", "attribute_precision", "attribute_recall", "article_accuracy")

    def compute(self, judged: Judged) -> list[Score]:
        """Four scores; 0 where nothing was written."""
        hits, named, wanted, articles = _counts(judged)
        totals = [one.sum(axis=0) for one in (hits, named, wanted)]
        parts = dict(zip(ATTRIBUTES, map(float, _f1(*totals)), strict=True))
        values = _scores(*(one.sum() for one in totals))
        found = [Score(name, float(value), parts=parts if name == "attribute_f1" else {}) for name, value in values.items()]
        return [*found, *means({"article_accuracy": articles})]

    def resample(self, judged: Judged, counts: Any) -> dict[str, Any]:
        """{score: [resamples]}."""
        hits, named, wanted, articles = _counts(judged)
        known = ~np.isnan(articles)
        accuracy = share(counts[:, known] @ articles[known], counts[:, known].sum(axis=1))
        return _scores(*(counts @ one.sum(axis=1) for one in (hits, named, wanted))) | {"article_accuracy": accuracy}

    def figures(self, judged: Judged) -> dict[str, Any]:
        """None."""
        return {}


def _scores(hits: Any, named: Any, wanted: Any) -> dict[str, Any]:
    return {"attribute_f1": _f1(hits, named, wanted), "attribute_precision": share(hits, named), "attribute_recall": share(hits, wanted)}


def _f1(hits: Any, named: Any, wanted: Any) -> Any:
    return share(2.0 * np.asarray(hits), np.asarray(named) + np.asarray(wanted))


def _counts(judged: Judged) -> tuple[Any, Any, Any, Any]:
    """[rows, attributes] each: right words, named words, words that should be named; and [rows] whether the article is right, or nan."""
    shape = (len(judged.examples), len(ATTRIBUTES))
    hits, named, wanted = (np.zeros(shape) for _ in range(3))
    articles = np.full(shape[0], np.nan)
    values = [_values(judged, attribute) for attribute in ATTRIBUTES]
    for pair in pairs(judged):
        columns = judged.examples[pair.row].columns
        for number, attribute in enumerate(ATTRIBUTES):
            said, reference = (_found(text, values[number]) for text in (pair.written, pair.reference))
            own = _normal(_column(columns, attribute))
            right = {own} if own else reference
            must = right if right <= reference else right & said
            hits[pair.row, number] = len(said & right)
            named[pair.row, number] = len(said)
            wanted[pair.row, number] = len(must)
            if attribute == "article" and right:
                articles[pair.row] = float(said == right)
    return hits, named, wanted, articles


def _column(columns: dict[str, Any], attribute: str) -> str:
    return next((str(columns[name]) for name in ATTRIBUTES[attribute] if columns.get(name)), "")


def _values(judged: Judged, attribute: str) -> list[str]:
    """Every value that a caption may name, the longest first."""
    known = {_normal(_column(example.columns, attribute)) for example in judged.examples}
    known |= {_normal(one) for one in COLOURS} if attribute == "colour" else set()
    return sorted(known - {""}, key=lambda one: (-len(one), one))


def _found(text: str, values: Sequence[str]) -> set[str]:
    """The values that stand in the text as whole words; what is part of a longer one is not counted again."""
    left, found = f" {_normal(text)} ", set()
    for value in values:
        if f" {value} " in left:
            found.add(value)
            left = left.replace(f" {value} ", " | ")
    return found


def _normal(text: str) -> str:
    return " ".join(_stem(_SPELLED.get(word, word)) for word in _WORD.findall(text.lower()))


@cache
def _stem(word: str) -> str:
    return str(_stemmer().stem(word))


@cache
def _stemmer() -> Any:
    from nltk.stem.snowball import EnglishStemmer  # type: ignore[import-untyped,unused-ignore]

    return EnglishStemmer()


plugin = CaptionAttributes()
