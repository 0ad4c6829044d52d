"""Whether a text goes round in circles: the share of its word triples that it has said already."""

from __future__ import annotations

from typing import Any

from luthier.core.ports import Judged
from luthier.core.types import Score
from luthier.metrics._texts import Pair, means, rows_of

WORDS = 3
LOOP_SHARE = 0.5
"""From this share of repeated triples on, a text is a loop."""


class Repetition:
    """``repetition``: mean share of repeated word triples (1 - distinct-3, Li et al. 2016, arXiv 1510.03055); ``loops``: share of texts in
    which at least half are. Lower is better.
    """

    name = "repetition"
    summary = "how much the written texts repeat themselves"
    scores = ("repetition", "loops")

    def compute(self, judged: Judged) -> list[Score]:
        """Both, in [0, 1]."""
        return means(self.by_row(judged), lower_is_better=self.scores)

    def by_row(self, judged: Judged) -> dict[str, Any]:
        """Each row's."""
        return rows_of(judged, _measured, self.scores)

    def figures(self, judged: Judged) -> dict[str, Any]:
        """None."""
        return {}


def _measured(pair: Pair) -> dict[str, float]:
    words = pair.written.lower().split()
    triples = [tuple(words[start : start + WORDS]) for start in range(len(words) - WORDS + 1)]
    share = 1 - len(set(triples)) / len(triples) if triples else 0.0
    return {"repetition": share, "loops": float(share >= LOOP_SHARE)}


plugin = Repetition()
