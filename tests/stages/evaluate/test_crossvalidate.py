"""Folds keep classes in proportion and groups whole; the verdict follows the figures; planted label errors are found."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from luthier.core.errors import SpecError
from luthier.core.ports import Judged
from luthier.core.types import Example
from luthier.stages.evaluate import crossvalidate, label_errors
from luthier.tasks.text_classification import plugin as task

LABELS = list("abc")
SCHEMA = {"labels": LABELS, "multi_label": False}


def _examples(rows: int) -> list[Example]:
    return [Example(str(n), {"text": f"text {n}"}, LABELS[n % 3], group=f"talk {n // 4}") for n in range(rows)]


def test_folds_cover_every_row_once_and_never_split_a_group() -> None:
    examples = _examples(240)
    made = crossvalidate.folds(task, examples, 5, 0.1, 7)
    assert sorted(np.concatenate([fold.held for fold in made]).tolist()) == list(range(240))
    for fold in made:
        sides = [{examples[row].group for row in rows} for rows in (fold.learn, fold.inner, fold.held)]
        assert sum(len(side) for side in sides) == len(set.union(*sides))
        counts = Counter(examples[row].target for row in fold.held)
        assert max(counts.values()) - min(counts.values()) <= 4
        assert len(fold.inner) > 0
    again = crossvalidate.folds(task, examples, 5, 0.1, 7)
    assert all((one.held == two.held).all() for one, two in zip(made, again, strict=True))
    other = crossvalidate.folds(task, examples, 5, 0.1, 8)
    assert any(set(one.held) != set(two.held) for one, two in zip(made, other, strict=True))


@pytest.mark.parametrize("several", [False, True], ids=["two rows a class", "every set of labels once"])
def test_few_rows_of_every_class_are_divided_all_the_same(several: bool) -> None:
    """No class has a row for every fold: scikit-learn would refuse."""
    names = [f"class {n // 2}" for n in range(24)]
    examples = [Example(str(n), {"text": "t"}, [name, f"own {n}"] if several else name) for n, name in enumerate(names)]
    made = crossvalidate.folds(task, examples, 5, 0.05, 7)
    assert sorted(np.concatenate([fold.held for fold in made]).tolist()) == list(range(24))
    assert {len(fold.held) for fold in made} <= {4, 5}
    assert all(len(fold.inner) >= 1 and len(fold.learn) >= 16 for fold in made)


def test_groups_are_never_divided_however_few_they_are() -> None:
    examples = [Example(str(n), {"text": "t"}, LABELS[n % 3], group=f"talk {n % 3}") for n in range(30)]
    made = crossvalidate.folds(task, examples, 3, 0.1, 7)
    assert [len(fold.held) for fold in made] == [10, 10, 10]
    assert all(len(fold.inner) == len(fold.learn) == 10 for fold in made)
    two = [one for one in examples if one.group != "talk 2"]
    assert all(len(fold.inner) == 0 and len(fold.learn) == 10 for fold in crossvalidate.folds(task, two, 2, 0.1, 7))
    with pytest.raises(SpecError, match=r"evaluate\.folds: 5 folds need 5 groups, but training and validation rows hold 3") as caught:
        crossvalidate.folds(task, examples, 5, 0.1, 7)
    assert "at most 3" in caught.value.hint
    with pytest.raises(SpecError, match="need 5 different texts"):
        crossvalidate.check([Example("same", {"text": "t"}, "a")] * 9, 5)


def test_stability_is_judged_against_chance() -> None:
    steady = crossvalidate.stability([0.90, 0.91, 0.905, 0.895, 0.9], 0.01, "accuracy")
    assert steady["stable"]
    assert "± 0.010" in steady["saying"]
    shaky = crossvalidate.stability([0.9, 0.7, 0.95, 0.6, 0.9], 0.01, "accuracy")
    assert not shaky["stable"]
    assert "more than chance" in shaky["saying"]


def _judged(flipped: set[int]) -> Judged:
    random = np.random.default_rng(0)
    true = np.arange(300) % 3
    given = [LABELS[(k + 1) % 3] if n in flipped else LABELS[k] for n, k in enumerate(true)]
    logits = random.normal(size=(300, 3))
    logits[np.arange(300), true] += 4
    examples = [Example(str(n), {"text": f"text {n}"}, label, source=f"rows.csv:{n + 2}") for n, label in enumerate(given)]
    return Judged(examples, task.decode([e.id for e in examples], {"logits": logits}, SCHEMA, {}), {"logits": logits}, SCHEMA)


def test_planted_label_errors_are_found() -> None:
    flipped = {5, 17, 101, 202, 250}
    found = label_errors.likely(task, _judged(flipped))
    listed = {int(row["id"]) for row in found["rows"]}
    assert len(flipped & listed) >= 4
    assert found["found"] <= 15
    assert found["rows"][0]["source"].startswith("rows.csv:")
    assert found["rows"][0]["suggested"] != found["rows"][0]["given"]


def test_summary_gives_mean_and_sd_per_score() -> None:
    judged = _judged(set())
    held = [np.arange(300)[n::3] for n in range(3)]
    facts = [{"seconds": 1.0, "steps": 3, "best_step": 2}] * 3
    made = crossvalidate.summary(task, judged, held, facts, resamples_wanted=200, seed=1)
    values = made["scores"]["accuracy"]["values"]
    assert made["scores"]["accuracy"]["mean"] == np.mean(values)
    assert made["scores"]["accuracy"]["sd"] == np.std(values, ddof=1)
    assert made["seconds"] == 3.0
