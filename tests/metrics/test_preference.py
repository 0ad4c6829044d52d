"""Margins and the share above 0, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from luthier.core import registry
from luthier.core.errors import NotPossible
from luthier.core.ports import Judged
from luthier.core.types import Example

METRIC = registry.get("metrics", "preference")


def _judged(**outputs: list[float]) -> Judged:
    count = len(next(iter(outputs.values())))
    return Judged([Example(str(n), {}) for n in range(count)], [], {k: np.array(v) for k, v in outputs.items()}, {"beta": 0.5})


def test_what_the_preferred_answer_gained_over_the_start_model() -> None:
    judged = _judged(loss_sum=[2.0, 5.0, 3.0, 1.0], rejected_loss_sum=[6.0, 4.0, 3.0, 2.0], reference=[1.0, -2.0, 0.0, 4.0])
    rows = METRIC.by_row(judged)
    assert rows["reward_margin"].tolist() == [1.5, 0.5, 0.0, -1.5]
    assert rows["preference_accuracy"].tolist() == [1, 1, 0.5, 0]  # nothing gained counts half
    assert {score.name: score.value for score in METRIC.compute(judged)} == {"preference_accuracy": 0.625, "reward_margin": 0.125}


def test_outputs_of_one_answer_are_refused() -> None:
    with pytest.raises(NotPossible, match="two answers"):
        METRIC.compute(_judged(loss_sum=[1.0]))
