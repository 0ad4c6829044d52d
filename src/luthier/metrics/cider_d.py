"""CIDEr-D: how much of what a caption says its reference says too, words that few pictures' captions hold counting most."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from luthier.core.ports import Judged
from luthier.core.types import Score
from luthier.metrics._texts import means, pairs
from luthier.metrics.meteor import WORD

ORDERS = (1, 2, 3, 4)
SIGMA = 6.0
"""Of the Gaussian that a difference in length costs, in words."""


class CiderD:
    """``cider_d`` (Vedantam et al. 2015, arXiv 1411.5726, as COCO's evaluation server has it): cosine of tf-idf vectors of 1- to 4-grams,
    counts clipped at the reference's, a Gaussian penalty for another length, times 10. Document frequencies are the references' own.

    No kept library gives it without Java; these figures are the same as ``pycocoevalcap``'s on the same words.
    """

    name = "cider-d"
    summary = "CIDEr-D against the reference captions"

    def compute(self, judged: Judged) -> list[Score]:
        """The mean over rows, 0 to 10."""
        return means(self.by_row(judged))

    def by_row(self, judged: Judged) -> dict[str, Any]:
        """Each row's; nan where nothing was written. The frequencies stay those of all rows."""
        found, known = np.full(len(judged.examples), np.nan), pairs(judged)
        values = cider_d([WORD.findall(one.written.lower()) for one in known], [WORD.findall(one.reference.lower()) for one in known])
        found[[one.row for one in known]] = values
        return {"cider_d": found}

    def figures(self, judged: Judged) -> dict[str, Any]:
        """None."""
        return {}


def cider_d(written: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> list[float]:
    """Of each pair of word lists, one reference each.

    >>> [round(one, 3) for one in cider_d([["a", "red", "shirt"], ["a", "cap"]], [["a", "red", "shirt"], ["a", "blue", "cap"]])]
    [7.5, 1.744]
    """
    grams = [_grams(words) for words in references]
    seen = Counter(gram for one in grams for gram in one)
    documents = math.log(max(len(references), 1))
    found = []
    for words, reference, wanted in zip(written, grams, references, strict=True):
        ours, theirs = (_weighted(one, seen, documents) for one in (_grams(words), reference))
        penalty = math.exp(-((len(words) - len(wanted)) ** 2) / (2 * SIGMA**2))
        found.append(10.0 * penalty * sum(_cosine(ours, theirs, order) for order in ORDERS) / len(ORDERS))
    return found


def _grams(words: Sequence[str]) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[at : at + order]) for order in ORDERS for at in range(len(words) - order + 1))


def _weighted(grams: Counter[tuple[str, ...]], seen: Counter[tuple[str, ...]], documents: float) -> dict[tuple[str, ...], float]:
    return {gram: times * (documents - math.log(max(1.0, seen[gram]))) for gram, times in grams.items()}


def _cosine(ours: dict[tuple[str, ...], float], theirs: dict[tuple[str, ...], float], order: int) -> float:
    """Of n-grams of one order; a count above the reference's is taken for the reference's."""
    norms = [math.sqrt(sum(value**2 for gram, value in one.items() if len(gram) == order)) for one in (ours, theirs)]
    product = sum(min(value, theirs.get(gram, 0.0)) * theirs.get(gram, 0.0) for gram, value in ours.items() if len(gram) == order)
    return product / (norms[0] * norms[1]) if norms[0] and norms[1] else 0.0


plugin = CiderD()
