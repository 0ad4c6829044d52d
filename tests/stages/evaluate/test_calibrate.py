"""Temperature, thresholds and abstention, fitted on rows whose truth is known by construction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from luthier.core.job import Job
from luthier.core.plan import EvaluatePlan, Plan
from luthier.core.types import Example
from luthier.stages.evaluate import calibrate, thresholds
from luthier.stages.evaluate.subject import Subject
from luthier.tasks.text_classification import out_of_scope
from luthier.tasks.text_classification import plugin as task


def _subject(examples: list[Example], labels: list[str], *, several: bool = False, **plan: object) -> Subject:
    evaluate = EvaluatePlan(**plan)  # type: ignore[arg-type]
    job = Job(id="j", run="r", stage="evaluate", plan=Plan(name="n", task=task.name, model="m", evaluate=evaluate), work="w")
    subject = Subject(job, task, Path(), Path(), {"labels": labels, "multi_label": several}, {})
    subject.__dict__["validation"] = examples
    return subject


def _drawn(rows: int, temperature: float, seed: int = 0) -> tuple[list[Example], np.ndarray, list[str]]:
    """Targets drawn from softmax(true logits); the model's logits are ``temperature`` times too sharp."""
    random = np.random.default_rng(seed)
    true = random.normal(size=(rows, 4)) * 2
    chances = np.exp(true) / np.exp(true).sum(axis=1, keepdims=True)
    target = [int(random.choice(4, p=row)) for row in chances]
    labels = list("abcd")
    return [Example(str(n), {"text": "t"}, labels[k]) for n, k in enumerate(target)], true * temperature, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_is_found_again(temperature: float) -> None:
    examples, logits, labels = _drawn(3000, temperature)
    found = calibrate.fit(_subject(examples, labels), {"logits": logits})
    assert found["temperature"] == pytest.approx(temperature, rel=0.1)


def test_the_answered_share_errs_no_more_than_asked() -> None:
    examples, logits, labels = _drawn(3000, 1.0)
    subject = _subject(examples, labels, abstain_risk=0.05)
    found = calibrate.fit(subject, {"logits": logits})
    judged = subject.judged(examples, {"logits": logits}, found)
    said = calibrate.coverage(judged, found["abstain_below"])
    assert said["error"] <= 0.05
    assert 0.1 < said["coverage"] < 1.0
    fresh, more, _ = _drawn(3000, 1.0, seed=9)
    assert calibrate.coverage(subject.judged(fresh, {"logits": more}, found), found["abstain_below"])["error"] < 0.075


def test_abstain_at_the_ends() -> None:
    assert calibrate.abstain_below(np.array([0.9, 0.6]), np.array([True, True]), 0.01) == 0.0
    assert calibrate.abstain_below(np.array([0.9, 0.6]), np.array([False, False]), 0.01) == 1.0
    assert calibrate.abstain_below(np.array([0.9, 0.6]), np.array([True, False]), 0.01) == 0.75
    # equal confidences stand or fall together
    assert calibrate.abstain_below(np.array([0.9, 0.9]), np.array([True, False]), 0.1) == 1.0


def test_energy_of_a_strange_row_is_out_of_scope() -> None:
    _, logits, _ = _drawn(500, 1.0)
    quantiles = calibrate.energy_quantiles(logits)
    odd = out_of_scope(np.array([[-9.0, -9.0, -9.0, -9.0], [9.0, 0.0, 0.0, 0.0]]), {"energy_quantiles": quantiles})
    assert odd[0] == 1.0
    assert odd[1] < 0.05


def test_label_thresholds_make_a_better_f1() -> None:
    random = np.random.default_rng(0)
    right = random.random((600, 2)) < 0.3
    logits = random.normal(size=(600, 2)) + 3.0 * right - 4.0  # shifted: 0.5 is too high a bar
    labels = ["p", "q"]
    examples = [Example(str(n), {"text": "t"}, [labels[k] for k in np.flatnonzero(row)]) for n, row in enumerate(right)]
    found = calibrate.fit(_subject(examples, labels, several=True), {"logits": logits})
    assert all(bar < 0.4 for bar in found["thresholds"].values())


def test_costs_are_used_without_validation_rows_too() -> None:
    costs = {"fraud": {"fine": 10.0}}
    found = calibrate.fit(_subject([], ["fine", "fraud"], costs=costs), {})
    assert found == {"costs": costs}
    schema = {"labels": ["fine", "fraud"], "multi_label": False}
    assert task.decode(["1"], {"logits": np.array([[1.0, 0.0]])}, schema, found)[0].output == "fraud"
    assert calibrate.fit(_subject([], ["fine", "fraud"]), {}) == {}


def test_two_classes_of_unequal_cost() -> None:
    examples, logits, _ = _drawn(2000, 1.0)
    pairs = [Example(e.id, e.inputs, "fraud" if e.target == "a" else "fine") for e in examples]
    two = np.stack([np.logaddexp.reduce(logits[:, 1:], axis=1), logits[:, 0]], axis=1)
    costs = {"fraud": {"fine": 10.0}, "fine": {"fraud": 1.0}}
    subject = _subject(pairs, ["fine", "fraud"], costs=costs)
    found = calibrate.fit(subject, {"logits": two})
    judged = subject.judged(pairs, {"logits": two}, found)
    paid = thresholds.costs(subject, judged)
    assert paid["mean_cost"] < 0.8 * paid["mean_cost_of_likeliest"]
    curve = thresholds.binary_curve(judged, costs)
    assert curve["positive"] == "fraud"
    assert curve["least_expected_cost_at"] == pytest.approx(1 / 11)
    cheapest = min(curve["points"], key=lambda point: point["cost"])
    assert cheapest["threshold"] == pytest.approx(1 / 11, abs=0.06)
    assert curve["points"][0]["false_negatives"] == 0
    assert curve["points"][-1]["false_positives"] <= curve["points"][0]["false_positives"]
