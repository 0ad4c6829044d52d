"""Whether a text says what its source does not: numbers, names and negations that stand nowhere in what the model was given."""

from __future__ import annotations

import re
from typing import Any

from luthier.core.ports import Judged
from luthier.core.types import Score
from luthier.metrics._texts import Pair, means, rows_of

NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
NAME = re.compile(r"(?<![.!?:]\s)(?<!^)(?<!\n)\b[A-Z][a-z]{2,}\b|\b[A-Z]{2,}\b")
"""A capitalised word that begins no sentence, or one in capitals."""
NEGATION = re.compile(r"\b(?:not|no|never|none|neither|nor|without|cannot|nothing)\b|n['’]t\b", re.IGNORECASE)


class Faithfulness:
    """Shares of rows, in [0, 1]: ``faithful`` (nothing foreign was found), ``invented_numbers``, ``invented_names``,
    ``invented_negations`` (the text negates, the source never does).

    By what stands in the letters alone: a number in other words ("two", "2") counts as foreign, and what is only put wrongly together
    is not seen. Maynez et al. 2020, arXiv 2005.00661, on why ROUGE does not see any of it.
    """

    name = "faithfulness"
    summary = "share of texts without numbers, names and negations that their source does not hold"
    scores = ("faithful", "invented_numbers", "invented_names", "invented_negations")

    def compute(self, judged: Judged) -> list[Score]:
        """``faithful`` first; of the others less is better."""
        return means(self.by_row(judged), lower_is_better=self.scores[1:])

    def by_row(self, judged: Judged) -> dict[str, Any]:
        """Each row's, 0 or 1."""
        return rows_of(judged, _measured, self.scores)

    def figures(self, judged: Judged) -> dict[str, Any]:
        """None."""
        return {}


def _measured(pair: Pair) -> dict[str, float]:
    numbers = {_plain(one) for one in NUMBER.findall(pair.written)} - {_plain(one) for one in NUMBER.findall(pair.source)}
    given = {word.lower() for word in re.findall(r"\w+", pair.source)}
    names = {one for one in NAME.findall(pair.written) if one.lower() not in given}
    negated = bool(NEGATION.search(pair.written)) and not NEGATION.search(pair.source)
    found = {"invented_numbers": bool(numbers), "invented_names": bool(names), "invented_negations": negated}
    return {"faithful": float(not any(found.values())), **{name: float(value) for name, value in found.items()}}


def _plain(number: str) -> str:
    return number.replace(",", "").rstrip(".").removesuffix(".00")


plugin = Faithfulness()
