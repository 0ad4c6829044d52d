"""Joint accuracy: the share of rows of which everything is right, labels and every span."""

from __future__ import annotations

from typing import Any

import numpy as np

from luthier.core.ports import Judged
from luthier.core.types import Score


class JointAccuracy:
    """``joint_accuracy`` in [0, 1]: a row counts when its output is its target (whole-message accuracy of joint models)."""

    name = "joint-accuracy"
    summary = "share of rows of which everything is right, labels and spans"

    def compute(self, judged: Judged) -> list[Score]:
        """One score."""
        right = _right(judged)
        return [Score("joint_accuracy", float(right.mean()) if len(right) else 0.0)]

    def resample(self, judged: Judged, counts: Any) -> dict[str, Any]:
        """The score of each resample; ``counts`` [resamples, rows]."""
        return {"joint_accuracy": (counts @ _right(judged)) / np.maximum(counts.sum(axis=1), 1)}

    def figures(self, judged: Judged) -> dict[str, Any]:
        """None."""
        return {}


def _right(judged: Judged) -> Any:
    pairs = zip(judged.examples, judged.predictions, strict=True)
    return np.array([_plain(example.target) == _plain(prediction.output) for example, prediction in pairs], dtype=np.float64)


def _plain(value: Any) -> Any:
    """Several labels come in no order."""
    return sorted(map(str, value)) if isinstance(value, list) else value


plugin = JointAccuracy()
