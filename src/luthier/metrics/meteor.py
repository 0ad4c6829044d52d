"""METEOR: words that a text shares with its reference, exactly or by their stem, and how far they stand in one order."""

from __future__ import annotations

import re
from typing import Any

from luthier.core.ports import Judged
from luthier.core.types import Score
from luthier.metrics._texts import Pair, means, rows_of

WORD = re.compile(r"\w+|[^\w\s]")


class _NoSynonyms:
    """Stands for WordNet, which would have to be fetched."""

    def synsets(self, word: str) -> list[Any]:
        """None."""
        return []


class Meteor:
    """``meteor`` in [0, 1] by ``nltk`` (Banerjee and Lavie 2005), the mean over rows: exact and stem stages, no synonyms, so lower than
    what is published with WordNet.
    """

    name = "meteor"
    summary = "METEOR against the reference: exact and stem stages, no synonyms"

    def compute(self, judged: Judged) -> list[Score]:
        """One score."""
        return means(self.by_row(judged))

    def by_row(self, judged: Judged) -> dict[str, Any]:
        """Each row's."""
        return rows_of(judged, _measured, ("meteor",))

    def figures(self, judged: Judged) -> dict[str, Any]:
        """None."""
        return {}


def _measured(pair: Pair) -> dict[str, float]:
    from nltk.translate.meteor_score import single_meteor_score  # type: ignore[import-untyped,unused-ignore]

    wanted, written = WORD.findall(pair.reference), WORD.findall(pair.written)
    return {"meteor": float(single_meteor_score(wanted, written, wordnet=_NoSynonyms())) if wanted and written else 0.0}


plugin = Meteor()
