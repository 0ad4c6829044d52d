"""ROUGE: words, word pairs and the longest common run of words that a text shares with its reference (Lin 2004)."""

from __future__ import annotations

from functools import cache
from typing import Any

from luthier.core.ports import Judged
from luthier.core.types import Score
from luthier.metrics._texts import Pair, means, rows_of

NAMES = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}


class Rouge:
    """F1 of each, in [0, 1], by Google's ``rouge-score`` with Porter's stemmer, the mean over rows; letters and digits of ASCII only."""

    name = "rouge"
    summary = "ROUGE-1, ROUGE-2 and ROUGE-L of what was written against its reference"
    scores = ("rouge_l", "rouge_1", "rouge_2")

    def compute(self, judged: Judged) -> list[Score]:
        """``rouge_l``, ``rouge_1`` and ``rouge_2``."""
        return means(self.by_row(judged))

    def by_row(self, judged: Judged) -> dict[str, Any]:
        """Each row's F1."""
        return rows_of(judged, _measured, self.scores)

    def figures(self, judged: Judged) -> dict[str, Any]:
        """None."""
        return {}


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(NAMES.values()), use_stemmer=True)


def _measured(pair: Pair) -> dict[str, float]:
    found = _scorer().score(pair.reference, pair.written)
    return {name: float(found[theirs].fmeasure) for name, theirs in NAMES.items()}


plugin = Rouge()
