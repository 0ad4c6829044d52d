"""McNemar's test and the paired bootstrap on made-up pairs of models."""

from __future__ import annotations

import numpy as np
import pytest

from luthier.core.ports import Judged
from luthier.core.types import Example, Prediction
from luthier.stages.evaluate import report
from luthier.stages.evaluate.compare import mcnemar, paired, real
from luthier.tasks.text_classification import plugin as task

SCHEMA = {"labels": ["a", "b"], "multi_label": False}


def _judged(right: list[bool], first: int = 0) -> Judged:
    examples = [Example(str(first + n), {"text": "t"}, "a") for n in range(len(right))]
    predictions = [Prediction(e.id, "a" if ok else "b", 0.9) for e, ok in zip(examples, right, strict=True)]
    return Judged(examples, predictions, {}, SCHEMA)


def test_mcnemar_by_hand() -> None:
    # 1 against 5: P(X <= 1 | 6, 1/2) = 7/64
    assert mcnemar(1, 5)["p_exact"] == pytest.approx(14 / 64)
    assert mcnemar(1, 5)["p_mid"] == pytest.approx(14 / 64 - 6 / 64)
    assert mcnemar(0, 0) == {"p_exact": 1.0, "p_mid": 1.0}
    assert mcnemar(4, 4)["p_exact"] == 1.0


def test_a_better_model_is_seen() -> None:
    random = np.random.default_rng(0)
    worse = random.random(400) < 0.8
    better = worse | (random.random(400) < 0.5)
    found = paired(task, _judged(better.tolist()), _judged(worse.tolist()), resamples_wanted=500, seed=1)
    assert found["p_mid"] < 0.001
    assert 0 < found["low"] < found["difference"] < found["high"]
    assert "a real difference" in found["saying"]


def test_equal_models_are_not_told_apart() -> None:
    same = (np.random.default_rng(1).random(200) < 0.9).tolist()
    found = paired(task, _judged(same), _judged(same), resamples_wanted=200, seed=1)
    assert found["difference"] == 0
    assert "no difference" in found["saying"]


def test_only_rows_in_common_are_compared() -> None:
    found = paired(task, _judged([True] * 10), _judged([True] * 10, first=6), resamples_wanted=0, seed=1)
    assert found["rows"] == 4
    none = paired(task, _judged([True] * 3), _judged([True] * 3, first=50), resamples_wanted=0, seed=1)
    assert none["rows"] == 0
    assert "no test row in common" in none["saying"]


def _grouped(right: list[bool]) -> Judged:
    """Ten rows a group."""
    plain = _judged(right)
    examples = [Example(one.id, one.inputs, one.target, group=f"talk {n // 10}") for n, one in enumerate(plain.examples)]
    return Judged(examples, plain.predictions, {}, SCHEMA)


def test_rows_of_one_group_are_no_proof() -> None:
    """Nine rows gained, all in one conversation of four, and one lost: McNemar's test alone would call it a difference."""
    ours, theirs = [True] * 40, [True] * 40
    theirs[:9], ours[15] = [False] * 9, False
    found = paired(task, _grouped(ours), _grouped(theirs), resamples_wanted=500, seed=1)
    assert found["p_mid"] < 0.05
    assert found["low"] <= 0 < found["difference"]
    assert not real(found)
    assert "no difference that these rows can show" in found["saying"]
    alone = paired(task, _judged(ours), _judged(theirs), resamples_wanted=0, seed=1)
    assert real(alone)
    assert "cannot tell from chance" in _bought(found)
    assert "cannot tell from chance" not in _bought(alone)


def _bought(test: dict[str, object]) -> str:
    rows = [
        {"name": "majority", "scores": {"accuracy": 0.7}, "gained": {"accuracy": 0.2}, "test": test, "train_s": 1.0},
        {"name": "this model", "scores": {"accuracy": 0.9}, "train_s": 9.0},
    ]
    return report.bought({"primary_metric": "accuracy", "comparison": rows})


def test_one_text_with_two_labels_is_compared_twice() -> None:
    examples = [Example("same", {"text": "t"}, "a"), Example("same", {"text": "t"}, "b")]
    judged = Judged(examples, [Prediction("same", "a", 0.9)] * 2, {}, SCHEMA)
    assert paired(task, judged, judged, resamples_wanted=0, seed=1)["rows"] == 2
