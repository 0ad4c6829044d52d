"""Accuracy: the share of rows that were answered rightly (for several labels: with exactly the right set)."""

from __future__ import annotations

from typing import Any

import numpy as np

from luthier.core.ports import Judged
from luthier.core.types import Score
from luthier.metrics._decisions import decisions


class Accuracy:
    """``accuracy`` in [0, 1]; ``parts`` holds the share of each right class's rows (its recall)."""

    name = "accuracy"
    summary = "share of rows answered rightly"

    def compute(self, judged: Judged) -> list[Score]:
        """One score."""
        made = decisions(judged)
        correct = made.correct
        parts = {label: float(correct[rows].mean()) for label, rows in zip(made.labels, made.right.T, strict=True) if rows.any()}
        return [Score("accuracy", float(correct.mean()) if len(correct) else 0.0, parts=parts)]

    def resample(self, judged: Judged, counts: Any) -> dict[str, Any]:
        """Accuracy of each resample; ``counts`` [resamples, rows] says how often each row is in it."""
        correct = decisions(judged).correct.astype(counts.dtype)
        return {"accuracy": (counts @ correct) / np.maximum(counts.sum(axis=1), 1)}

    def figures(self, judged: Judged) -> dict[str, Any]:
        """None."""
        return {}


plugin = Accuracy()
