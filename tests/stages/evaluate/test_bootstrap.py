"""Resampling by counting rows: the right intervals, whole groups, and fast enough."""

from __future__ import annotations

import time

import numpy as np
import pytest

from luthier.core.ports import Judged
from luthier.core.types import Example
from luthier.stages.evaluate import bootstrap, scoring
from luthier.tasks.text_classification import plugin as task


def _judged(rows: int, classes: int, seed: int = 0) -> Judged:
    random = np.random.default_rng(seed)
    labels = [f"class {number:02d}" for number in range(classes)]
    target = random.integers(0, classes, rows)
    logits = random.normal(size=(rows, classes))
    logits[np.arange(rows), target] += 3
    examples = [Example(f"row {n}", {"text": "t"}, labels[k]) for n, k in enumerate(target)]
    schema = {"labels": labels, "multi_label": False}
    return Judged(examples, task.decode([e.id for e in examples], {"logits": logits}, schema, {}), {"logits": logits}, schema)


def test_the_interval_of_accuracy_is_the_binomial_one() -> None:
    judged = _judged(800, 5)
    table = scoring.table(task, judged, bootstrap.draw(judged.examples, 2000, 3))
    share = table["accuracy"]["value"]
    half = 1.96 * np.sqrt(share * (1 - share) / 800)
    assert table["accuracy"]["low"] == pytest.approx(share - half, abs=0.006)
    assert table["accuracy"]["high"] == pytest.approx(share + half, abs=0.006)
    assert table["accuracy"]["low"] < table["macro_f1"]["value"] < table["accuracy"]["high"]


def test_groups_are_drawn_whole_and_make_intervals_wider() -> None:
    examples = [Example(str(n), {}, "a", group=f"conversation {n % 10}") for n in range(200)]
    counts = bootstrap.draw(examples, 50, 1)
    by_group = counts.reshape(50, 20, 10)
    assert (by_group == by_group[:, :1, :]).all()
    assert (counts.sum(axis=1) == 200).all()


def test_the_same_seed_draws_the_same_rows() -> None:
    examples = [Example(str(n), {}, "a") for n in range(30)]
    assert (bootstrap.draw(examples, 5, 1) == bootstrap.draw(examples, 5, 1)).all()
    assert (bootstrap.draw(examples, 5, 1) != bootstrap.draw(examples, 5, 2)).any()


def test_a_thousand_resamples_of_the_headline_metrics_are_quick() -> None:
    """3,000 rows and 77 classes, below 2 s each on a quiet machine; the bound is wide because tests share one."""
    judged = _judged(3000, 77)
    counts = bootstrap.draw(judged.examples, 1000, 0)
    for name in ("accuracy", "f1", "calibration", "roc-auc", "pr-auc"):
        start = time.process_time()
        drawn = scoring.resamples(task, judged, counts, [name])
        assert time.process_time() - start < 8, name
        assert all(len(values) == 1000 for values in drawn.values())


def test_wilson_holds_at_the_ends() -> None:
    assert bootstrap.wilson(20, 20)[1] == 1.0
    assert 0.8 < bootstrap.wilson(20, 20)[0] < 1.0
    assert bootstrap.wilson(0, 0) == (0.0, 1.0)
