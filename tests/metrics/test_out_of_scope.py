"""Recall of messages that no label fits, at the price that is allowed; worked out by hand, and the area against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from luthier.core.ports import Judged
from luthier.core.types import Example, Prediction
from luthier.metrics.out_of_scope import plugin, recall_at


def _judged(odd: list[float], outside: list[bool], said: list[str]) -> Judged:
    examples = [Example(str(n), {}, {"labels": [] if out else ["a"], "entities": []}) for n, out in enumerate(outside)]
    predictions = [
        Prediction(str(n), {"labels": [name] if name else [], "entities": []}, 1.0, out_of_scope=value)
        for n, (value, name) in enumerate(zip(odd, said, strict=True))
    ]
    return Judged(examples, predictions, {}, {"labels": ["a", "b"]})


def test_scores() -> None:
    odd = [0.9, 0.8, 0.3, 0.7, 0.1, 0.2]
    outside = [True, True, True, False, False, False]
    found = {score.name: score.value for score in plugin.compute(_judged(odd, outside, ["", "a", "a", "b", "a", "a"]))}
    assert found["in_scope_accuracy"] == pytest.approx(2 / 3)
    assert found["in_scope_accepted"] == 1.0
    assert found["out_of_scope_rejected"] == pytest.approx(1 / 3)
    assert found["out_of_scope_recall"] == 1.0  # what lies above 0.3 and is in scope was wrong anyway: nothing is lost
    from sklearn.metrics import roc_auc_score

    assert found["out_of_scope_roc_auc"] == pytest.approx(roc_auc_score(outside, odd))


def test_the_price_is_kept() -> None:
    generator = np.random.default_rng(0)
    outside = np.arange(400) < 100
    odd = generator.normal(0, 1, 400) + 2 * outside
    right = generator.random(400) < 0.9
    recall = recall_at(odd, outside, right, lost=0.02)
    cut = np.sort(odd[outside])[::-1][round(recall * 100) - 1]
    assert ((odd >= cut) & ~outside & right).sum() <= 0.02 * 300
    assert 0.4 < recall < 0.9
    assert recall < recall_at(odd, outside, right, lost=0.1)


def test_without_such_rows_nothing_is_claimed() -> None:
    names = [score.name for score in plugin.compute(_judged([0.1, 0.2], [False, False], ["a", "b"]))]
    assert names == ["in_scope_accuracy", "in_scope_accepted"]
