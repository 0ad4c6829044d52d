from __future__ import annotations

import numpy as np
import pytest

from luthier.core import registry
from luthier.core.plan import TrainPlan
from luthier.stages.train.weights import class_weights

SCHEMA = {"labels": ["a", "b"]}
TASK = registry.get("tasks", "text-classification")


def single(*counts: int) -> list[dict[str, np.ndarray]]:
    return [{"labels": np.array(number)} for number, count in enumerate(counts) for _ in range(count)]


def test_auto_balances_only_skewed_classes() -> None:
    assert class_weights(TASK, single(50, 10), SCHEMA, TrainPlan()) is None
    weights = class_weights(TASK, single(90, 10), SCHEMA, TrainPlan())
    assert weights[1] / weights[0] == pytest.approx(3.0)
    assert (weights * [90, 10]).sum() == pytest.approx(100, rel=1e-5)


def test_balanced_gives_each_class_the_same_say() -> None:
    weights = class_weights(TASK, single(90, 10), SCHEMA, TrainPlan(class_weights="balanced"))
    assert weights[0] * 90 == pytest.approx(weights[1] * 10, rel=1e-5)
    assert class_weights(TASK, single(90, 10), SCHEMA, TrainPlan(class_weights="none")) is None


def test_several_labels_weigh_the_positive_side() -> None:
    items = [{"labels": np.array([1.0, 0.0], dtype=np.float32)}] * 90 + [{"labels": np.array([1.0, 1.0], dtype=np.float32)}] * 10
    weights = class_weights(TASK, items, SCHEMA, TrainPlan(class_weights="balanced"))
    assert weights.tolist() == pytest.approx([1.0, 9.0])


def test_the_intents_of_messages_with_spans_are_weighed_too() -> None:
    """Their marks stand before the tags: 90 and 10 rows of two intents weigh as two classes do."""
    task, tags = registry.get("tasks", "intent-entities"), [3, -100, 4]
    rows = [{"labels": np.array([*marks, *tags])} for marks, count in (((1, 0), 90), ((0, 1), 10)) for _ in range(count)]
    found = class_weights(task, rows, {**SCHEMA, "multi_label": False}, TrainPlan())
    assert found.tolist() == class_weights(TASK, single(90, 10), SCHEMA, TrainPlan()).tolist()
    several = {**SCHEMA, "multi_label": True}
    assert class_weights(task, rows, several, TrainPlan()) is None
    assert class_weights(task, rows, several, TrainPlan(class_weights="balanced")).tolist() == pytest.approx([1.0, 9.0])
