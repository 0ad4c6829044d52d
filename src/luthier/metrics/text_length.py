"""How long the written texts are, against what was wanted and what was given."""

from __future__ import annotations

from typing import Any

from luthier.core.ports import Judged
from luthier.core.types import Score
from luthier.metrics._texts import Pair, means, rows_of


class TextLength:
    """Means over rows: ``words``; ``length_ratio``, words written for each word wanted; ``compression``, words given for each written."""

    name = "text-length"
    summary = "words written, against the reference and against the source"
    scores = ("words", "length_ratio", "compression")

    def compute(self, judged: Judged) -> list[Score]:
        """Three scores that are read, not maximised."""
        return means(self.by_row(judged))

    def by_row(self, judged: Judged) -> dict[str, Any]:
        """Each row's."""
        return rows_of(judged, _measured, self.scores)

    def figures(self, judged: Judged) -> dict[str, Any]:
        """None."""
        return {}


def _measured(pair: Pair) -> dict[str, float]:
    written, wanted, given = (len(text.split()) for text in (pair.written, pair.reference, pair.source))
    return {"words": float(written), "length_ratio": written / max(wanted, 1), "compression": given / max(written, 1)}


plugin = TextLength()
