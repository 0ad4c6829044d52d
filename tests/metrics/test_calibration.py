"""The expected calibration error, worked out by hand on a few rows."""

from __future__ import annotations

import numpy as np
import pytest

from luthier.core.ports import Judged
from luthier.core.types import Example, Prediction
from luthier.metrics.calibration import plugin

SCHEMA = {"labels": ["no", "yes"], "multi_label": False}


def _judged(confidences: list[float], right: list[bool]) -> Judged:
    examples = [Example(str(i), {"text": "t"}, "yes" if ok else "no") for i, ok in enumerate(right)]
    predictions = [Prediction(str(i), "yes", c, {"no": 1 - c, "yes": c}) for i, c in enumerate(confidences)]
    return Judged(examples, predictions, {}, SCHEMA)


def test_ece_by_hand() -> None:
    # two rows said 0.9 (one right: gap 0.4 over 2 of 3 rows), one said 0.55 (right: gap 0.45 over 1 of 3 rows)
    scores = {s.name: s.value for s in plugin.compute(_judged([0.9, 0.9, 0.55], [True, False, True]))}
    assert scores["ece"] == pytest.approx((2 * 0.4 + 0.45) / 3)


def test_perfectly_calibrated_answers_have_a_small_error() -> None:
    random = np.random.default_rng(0)
    said = random.uniform(0.5, 1.0, 20_000)
    made = _judged(said.tolist(), (random.random(20_000) < said).tolist())
    assert {s.name: s.value for s in plugin.compute(made)}["ece"] < 0.01
    bins = plugin.figures(made)["reliability"]
    assert sum(one["rows"] for one in bins) == 20_000
    assert all(abs(one["confidence"] - one["accuracy"]) < 0.05 for one in bins)


def test_lower_is_better() -> None:
    assert not any(score.higher_is_better for score in plugin.compute(_judged([0.8], [True])))
