"""Calibration: whether answers given with 90 % confidence are right nine times in ten (ECE, Brier score, log loss)."""

from __future__ import annotations

from typing import Any

import numpy as np

from luthier.core.ports import Judged
from luthier.core.types import Score
from luthier.metrics._decisions import Decisions, decisions

BINS = 15
"""Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv 1706.04599): 15 bins of equal width."""
_TINY = 1e-12


class Calibration:
    """``ece`` (expected calibration error, [0, 1]), ``brier`` (sum of squared errors a row, [0, 2]), ``nll`` (nats a row); lower is better.

    ECE bins the confidence in the answer; for several labels each class's chance is a decision of its own.
    """

    name = "calibration"
    summary = "how far the confidence can be trusted: ECE, Brier, log loss"
    scores = ("ece", "brier", "nll")

    def compute(self, judged: Judged) -> list[Score]:
        """Three scores, ``ece`` first."""
        scores = self.resample(judged, np.ones((1, len(judged.examples))))
        return [Score(name, float(values[0]), higher_is_better=False) for name, values in scores.items()]

    def resample(self, judged: Judged, counts: Any) -> dict[str, Any]:
        """The scores of each resample; ``counts`` [resamples, rows]."""
        made = decisions(judged)
        rows = np.maximum(counts.sum(axis=1), 1)
        brier, nll = _losses(made)
        return {"ece": _ece(made, counts), "brier": counts @ brier / rows, "nll": counts @ nll / rows}

    def figures(self, judged: Judged) -> dict[str, Any]:
        """``reliability``: for each filled bin ``low``, ``high``, ``confidence`` (mean), ``accuracy`` (share right), ``rows``."""
        said, right, _ = _claims(decisions(judged))
        number = _bin(said)
        bins = []
        for one in range(BINS):
            inside = number == one
            if inside.any():
                mean = {"confidence": float(said[inside].mean()), "accuracy": float(right[inside].mean())}
                bins.append({"low": one / BINS, "high": (one + 1) / BINS, **mean, "rows": int(inside.sum())})
        return {"reliability": bins}


def _claims(made: Decisions) -> tuple[Any, Any, Any]:
    """What was claimed: chance said, whether it came true, and the row it belongs to; each [claims]."""
    rows, classes = made.right.shape
    if made.several:
        return made.chances.ravel(), made.right.ravel(), np.repeat(np.arange(rows), classes)
    return made.confidence, made.correct, np.arange(rows)


def _bin(said: Any) -> Any:
    return np.clip(np.ceil(said * BINS).astype(int) - 1, 0, BINS - 1)


def _ece(made: Decisions, counts: Any) -> Any:
    """Sum over bins of |said - came true|, divided by the number of claims: [resamples]."""
    said, right, owner = _claims(made)
    gaps = np.zeros((len(made.right), BINS))
    np.add.at(gaps, (owner, _bin(said)), right - said)
    claims = np.maximum(counts.sum(axis=1) * (len(said) / max(len(made.right), 1)), 1)
    return np.abs(counts @ gaps).sum(axis=1) / claims


def _losses(made: Decisions) -> tuple[Any, Any]:
    """Brier score and negative log-likelihood of each row, [rows] each."""
    brier = ((made.chances - made.right) ** 2).sum(axis=1)
    chances = np.clip(made.chances, _TINY, 1.0)
    nll = -np.where(made.right, np.log(chances), 0.0).sum(axis=1)
    if made.several:
        nll = nll - np.where(made.right, 0.0, np.log(np.clip(1.0 - made.chances, _TINY, 1.0))).sum(axis=1)
    return brier, nll


plugin = Calibration()
