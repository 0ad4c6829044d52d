"""Sets of intents, by how many there are."""

from __future__ import annotations

import pytest

from luthier.core.ports import Judged
from luthier.core.types import Example, Prediction
from luthier.metrics.intent_sets import plugin


def _scores(pairs: list[tuple[str, str]]) -> dict[str, float]:
    examples = [Example(str(n), {}, {"labels": list(right), "entities": []}) for n, (right, _) in enumerate(pairs)]
    answers = [Prediction(str(n), {"labels": list(said), "entities": []}, 1.0) for n, (_, said) in enumerate(pairs)]
    return {score.name: score.value for score in plugin.compute(Judged(examples, answers, {}, {"labels": ["a", "b", "c"]}))}


def test_sets_and_their_sizes() -> None:
    found = _scores([("a", "a"), ("ab", "ba"), ("ab", "ac"), ("abc", "ab")])
    assert found["intent_set_accuracy"] == pytest.approx(0.5)
    assert found["intent_count_accuracy"] == pytest.approx(0.75)
    assert found["multi_intent_accuracy"] == pytest.approx(1 / 3)


def test_one_intent_each() -> None:
    assert "multi_intent_accuracy" not in _scores([("a", "a"), ("b", "a")])
