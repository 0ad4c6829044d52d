from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from luthier.core.ports import Judged
from luthier.core.types import Example, Prediction
from luthier.metrics.f1 import plugin as f1
from luthier.metrics.rare_f1 import plugin, rare_classes

TARGETS = ["a"] * 6 + ["b"] * 3 + ["c", "d"]
OUTPUTS = ["a"] * 6 + ["b", "b", "c"] + ["c", "a"]


def judged(rare: frozenset[str] | None) -> Judged:
    examples = [Example(str(row), {}, target) for row, target in enumerate(TARGETS)]
    predictions = [Prediction(str(row), output, 1.0) for row, output in enumerate(OUTPUTS)]
    return Judged(examples, predictions, {}, {"labels": list("abcd"), "multi_label": False}, {}, rare)


def test_it_is_the_mean_of_the_rare_classes_f1() -> None:
    each = f1.compute(judged(None))[0].parts
    found = plugin.compute(judged(frozenset("bc")))[0]
    assert found.value == pytest.approx((each["b"] + each["c"]) / 2)
    assert found.parts == {"b": each["b"], "c": each["c"]}
    assert plugin.compute(judged(frozenset("abcd")))[0].value == pytest.approx(f1.compute(judged(None))[0].value)
    assert plugin.compute(judged(frozenset()))[0].value == 0.0


def test_resampling_a_class_away_takes_it_out_of_the_mean() -> None:
    counts = np.ones((2, len(TARGETS)))
    counts[1, 8:10] = 0  # no c is left, neither as a target nor as an answer
    drawn = plugin.resample(judged(frozenset("bc")), counts)["rare_f1"]
    assert drawn[0] == pytest.approx(plugin.compute(judged(frozenset("bc")))[0].value)
    assert drawn[1] == pytest.approx(1.0)


def test_where_nobody_says_it_the_judged_rows_do() -> None:
    assert plugin.figures(judged(None)) == {"rare_classes": ["c", "d"]}
    assert plugin.figures(replace(judged(None), rare={"b"})) == {"rare_classes": ["b"]}


def test_which_classes_are_rare() -> None:
    counts = {"a": 60, "b": 30, "c": 7, "d": 3}
    assert rare_classes(counts) == {"d"}
    assert rare_classes(counts, 8) == {"c", "d"}
    assert rare_classes(counts, 0.35) == {"b", "c", "d"}
    assert rare_classes({"a": 5, "b": 5, "c": 5}) == {"a", "b", "c"}
    assert rare_classes({}) == frozenset()
