"""BLEU-1 to BLEU-4 of a whole test set: how captions are reported (sacrebleu)."""

from __future__ import annotations

from typing import Any

from luthier.core.ports import Judged
from luthier.core.types import Score
from luthier.metrics._texts import pairs


class BleuN:
    """``bleu_1`` ... ``bleu_4``, in [0, 1] (Papineni et al. 2002): n-grams up to that length, small letters, no smoothing, over all rows
    together, so they are no means of rows.
    """

    name = "bleu-n"
    summary = "BLEU-1 to BLEU-4 over all rows together, as captions are reported (sacrebleu)"
    scores = ("bleu_1", "bleu_2", "bleu_3", "bleu_4")

    def compute(self, judged: Judged) -> list[Score]:
        """Four scores; 0 where nothing was written."""
        from sacrebleu.metrics import BLEU

        known = pairs(judged)
        written, wanted = [pair.written for pair in known], [[pair.reference for pair in known]]
        found = []
        for order, name in enumerate(self.scores, 1):
            metric = BLEU(lowercase=True, smooth_method="none", max_ngram_order=order)
            found.append(Score(name, metric.corpus_score(written, wanted).score / 100 if known else 0.0))
        return found

    def figures(self, judged: Judged) -> dict[str, Any]:
        """None."""
        return {}


plugin = BleuN()
