"""A slice that is really worse is flagged, and slices that differ by chance are not."""

from __future__ import annotations

import numpy as np

from luthier.core.ports import Judged
from luthier.core.types import Example, Prediction
from luthier.stages.evaluate import mistakes, slices
from luthier.tasks.text_classification import plugin as task

SCHEMA = {"labels": ["a", "b"], "multi_label": False}


def _judged(bad_channel: float) -> Judged:
    random = np.random.default_rng(0)
    examples, predictions = [], []
    for number in range(900):
        channel = ("chat", "email", "phone")[number % 3]
        right = random.random() < (bad_channel if channel == "phone" else 0.95)
        columns = {"channel": channel, "ticket": str(number)}
        examples.append(
            Example(str(number), {"text": f"text {number}"}, "ab"[number % 2], source=f"f{number % 2}.csv:{number}", columns=columns)
        )
        answer = "ab"[number % 2] if right else "ba"[number % 2]
        predictions.append(Prediction(str(number), answer, float(random.uniform(0.5, 1)), {"a": 0.5, "b": 0.5}))
    return Judged(examples, predictions, {}, SCHEMA)


def _table(judged: Judged) -> list[dict[str, object]]:
    return slices.table(task, judged, [n % 40 for n in range(900)], judged.examples, [])


def test_a_bad_channel_is_flagged_and_only_it() -> None:
    worse = [row["value"] for row in _table(_judged(0.75)) if row["worse"]]
    assert worse == ["phone"]


def test_chance_is_not_flagged() -> None:
    table = _table(_judged(0.95))
    assert not [row for row in table if row["worse"]]
    ways = {row["slice"] for row in table}
    assert ways == {"length", "class frequency", "source", "channel"}  # every ticket is another: no slice
    assert all(row["low"] <= row["accuracy"] <= row["high"] for row in table)
    assert sum(row["rows"] for row in table if row["slice"] == "length") == 900  # type: ignore[misc]


def test_the_worst_errors_come_first_with_their_rows() -> None:
    found = mistakes.worst(task, _judged(0.75))
    said = [row["confidence"] for row in found]
    assert said == sorted(said, reverse=True)
    assert len(found) == mistakes.MOST
    assert all(row["target"] != row["output"] and ".csv:" in row["source"] for row in found)
