"""BLEU and chrF of a whole test set, as ``sacrebleu`` computes them (Papineni et al. 2002; Popović 2015; Post 2018)."""

from __future__ import annotations

from typing import Any

from luthier.core.ports import Judged
from luthier.core.types import Score
from luthier.metrics._texts import pairs


class Bleu:
    """``bleu`` (13a tokens, exponential smoothing) and ``chrf`` (6 letters, beta 2), in [0, 1]: sacrebleu's divided by 100.

    They count over all rows together, so they are no means of rows.
    """

    name = "bleu"
    summary = "BLEU and chrF over all rows together (sacrebleu)"
    scores = ("bleu", "chrf")

    def compute(self, judged: Judged) -> list[Score]:
        """``bleu``, then ``chrf``; 0 where nothing was written."""
        found = pairs(judged)
        if not found:
            return [Score("bleu", 0.0), Score("chrf", 0.0)]
        from sacrebleu.metrics import BLEU, CHRF

        written, wanted = [pair.written for pair in found], [[pair.reference for pair in found]]
        return [
            Score("bleu", BLEU().corpus_score(written, wanted).score / 100),
            Score("chrf", CHRF().corpus_score(written, wanted).score / 100),
        ]

    def figures(self, judged: Judged) -> dict[str, Any]:
        """None."""
        return {}


plugin = Bleu()
