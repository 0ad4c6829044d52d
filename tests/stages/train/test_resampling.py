from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from luthier.core.errors import NotPossible
from luthier.core.plan import TrainPlan
from luthier.stages.train.batches import course
from luthier.stages.train.resampling import Resampling, resampling

TASK: Any = SimpleNamespace(name="a-task")
STRATA = np.array([0] * 90 + [1] * 10 + [2] * 3)


def counts(power: float, epoch: int = 0) -> list[int]:
    return np.bincount(STRATA[Resampling(STRATA, power, 5).rows(epoch)]).tolist()


def test_every_row_is_there_and_rare_ones_are_repeated() -> None:
    assert counts(1.0) == [90, 90, 90]
    assert counts(0.5) == [90, 30, 16]
    rows = Resampling(STRATA, 1.0, 5).rows(3)
    assert set(rows.tolist()) == set(range(len(STRATA)))
    assert set(np.bincount(rows)[90:100].tolist()) == {9}


def test_an_epochs_rows_follow_from_seed_and_epoch_alone() -> None:
    one = Resampling(STRATA, 0.5, 5)
    assert np.array_equal(one.rows(2), Resampling(STRATA, 0.5, 5).rows(2))
    assert not np.array_equal(one.rows(2), one.rows(3))
    assert not np.array_equal(one.rows(2), Resampling(STRATA, 0.5, 6).rows(2))


def test_the_course_trains_on_what_was_drawn() -> None:
    lengths = np.full(len(STRATA), 8)
    made = course(lengths, 80, 5, 2.5, 0, 0, Resampling(STRATA, 1.0, 5))
    for epoch in (0, 1):
        seen = np.concatenate(made.batches(epoch))
        assert np.bincount(STRATA[seen]).tolist() == [90, 90, 90]
    assert made.ends == (27, 54, 68)


def item(labels: Any) -> dict[str, Any]:
    return {"labels": np.array(labels)}


def test_of_several_labels_the_rarest_counts() -> None:
    plan, schema = TrainPlan(resampling="balanced"), {"labels": ["a", "b"]}
    items = [item([1.0, 0.0])] * 6 + [item([1.0, 1.0])] * 2 + [item([0.0, 0.0])]
    made = resampling(TASK, items, schema, plan, 1)
    assert made is not None
    assert made.strata.tolist() == [0] * 6 + [1] * 2 + [2]


def test_what_has_no_class_is_refused() -> None:
    plan = TrainPlan(resampling="balanced")
    with pytest.raises(NotPossible, match=r"train.resampling=balanced: the rows of a-task have no class"):
        resampling(TASK, [item([1, 2, 3, 4])], {"labels": ["a", "b"]}, plan, 1)
    with pytest.raises(NotPossible):
        resampling(TASK, [{"input_ids": np.zeros(3)}], {}, plan, 1)
    assert resampling(TASK, [{"input_ids": np.zeros(3)}], {}, TrainPlan(), 1) is None


def test_a_task_may_say_what_an_items_class_is() -> None:
    task: Any = SimpleNamespace(name="spans", class_of=lambda item, schema: int(item["intent"]))
    made = resampling(task, [{"intent": 1}, {"intent": 0}], {}, TrainPlan(resampling="square-root"), 1)
    assert made is not None
    assert made.strata.tolist() == [1, 0]
