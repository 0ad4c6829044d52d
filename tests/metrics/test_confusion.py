"""The confusion matrix counts each pair of right and answered class."""

from __future__ import annotations

from luthier.core.ports import Judged
from luthier.core.types import Example, Prediction
from luthier.metrics.confusion import plugin
from luthier.metrics.cost import plugin as cost

SCHEMA = {"labels": ["a", "b", "c"], "multi_label": False}


def _judged(pairs: list[tuple[str, str]], costs: dict[str, dict[str, float]] | None = None) -> Judged:
    examples = [Example(str(i), {"text": "t"}, right) for i, (right, _) in enumerate(pairs)]
    predictions = [Prediction(str(i), answer, 1.0) for i, (_, answer) in enumerate(pairs)]
    return Judged(examples, predictions, {}, SCHEMA, {"costs": costs or {}})


PAIRS = [("a", "a"), ("a", "b"), ("a", "b"), ("b", "b"), ("c", "a")]


def test_matrix_and_pairs() -> None:
    figure = plugin.figures(_judged(PAIRS))["confusion"]
    assert figure["matrix"] == [[1, 2, 0], [0, 1, 0], [1, 0, 0]]
    assert figure["pairs"][0] == {"right": "a", "answered": "b", "rows": 2}
    (score,) = plugin.compute(_judged(PAIRS))
    assert score.value == 0.4
    assert not score.higher_is_better


def test_cost_follows_the_matrix() -> None:
    (plain,) = cost.compute(_judged(PAIRS))
    assert plain.value == 3 / 5
    (dear,) = cost.compute(_judged(PAIRS, {"a": {"b": 10.0}}))
    assert dear.value == (10 + 10 + 1) / 5
    assert dear.parts["a"] == 20 / 3
