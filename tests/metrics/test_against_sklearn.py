"""Every score equals scikit-learn's on made-up answers, for one label and for several."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from luthier.core import registry
from luthier.core.ports import Judged
from luthier.core.types import Example
from luthier.metrics import _ranking as ranking
from luthier.tasks.text_classification import plugin as task

LABELS = [f"class {number:02d}" for number in range(9)]


def judged(target: Any, logits: Any, calibration: dict[str, Any] | None = None) -> Judged:
    """``target`` [rows] int for one label, or bool [rows, classes] for several."""
    labels, several = LABELS[: logits.shape[1]], target.ndim == 2
    answers: list[Any] = [[labels[k] for k in np.flatnonzero(row)] for row in target] if several else [labels[k] for k in target]
    examples = [Example(f"row {i}", {"text": f"text {i}"}, answer) for i, answer in enumerate(answers)]
    schema = {"labels": labels, "multi_label": several}
    predictions = task.decode([e.id for e in examples], {"logits": logits}, schema, calibration or {})
    return Judged(examples, predictions, {"logits": logits}, schema, calibration or {})


def values(name: str, made: Judged) -> dict[str, float]:
    return {score.name: score.value for score in registry.get("metrics", name).compute(made)}


@st.composite
def single(draw: st.DrawFn) -> tuple[Any, Any]:
    rows, classes, seed = draw(st.integers(5, 80)), draw(st.integers(2, 9)), draw(st.integers(0, 10_000))
    random = np.random.default_rng(seed)
    target = random.integers(0, classes, rows)
    logits = random.normal(size=(rows, classes)).round(draw(st.integers(0, 3)))
    logits[np.arange(rows), target] += draw(st.sampled_from([0.0, 0.7, 2.0, 4.0]))
    # Rounded again, so that ties are ties: 0.3 + 0.7 and 1.0 may differ in the last bit, which softmax loses and argmax sees.
    return target, logits.round(4)


@settings(max_examples=40, deadline=None)
@given(single())
def test_one_label(case: tuple[Any, Any]) -> None:
    target, logits = case
    made = judged(target, logits)
    answer = logits.argmax(axis=1)
    assert values("accuracy", made)["accuracy"] == pytest.approx(reference.accuracy_score(target, answer))
    found = values("f1", made)
    for average in ("macro", "micro", "weighted"):
        assert found[f"{average}_f1"] == pytest.approx(reference.f1_score(target, answer, average=average, zero_division=0))
        assert found[f"{average}_precision"] == pytest.approx(reference.precision_score(target, answer, average=average, zero_division=0))
        assert found[f"{average}_recall"] == pytest.approx(reference.recall_score(target, answer, average=average, zero_division=0))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    losses = values("calibration", made)
    assert losses["nll"] == pytest.approx(-np.log(chances[np.arange(len(target)), target]).mean())
    assert losses["brier"] == pytest.approx(((chances - np.eye(logits.shape[1])[target]) ** 2).sum(axis=1).mean())


@settings(max_examples=40, deadline=None)
@given(single())
def test_areas_under_curves(case: tuple[Any, Any]) -> None:
    target, logits = case
    made = judged(target, logits)
    chances = np.array([list(p.scores.values()) for p in made.predictions])
    right = np.eye(logits.shape[1], dtype=bool)[target]
    both = [k for k in range(right.shape[1]) if 0 < right[:, k].sum() < len(right)]
    if both:
        wanted = np.mean([reference.roc_auc_score(right[:, k], chances[:, k]) for k in both])
        assert values("roc-auc", made)["roc_auc"] == pytest.approx(wanted)
    there = [k for k in range(right.shape[1]) if right[:, k].any()]
    wanted = np.mean([reference.average_precision_score(right[:, k], chances[:, k]) for k in there])
    assert values("pr-auc", made)["pr_auc"] == pytest.approx(wanted)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6))
def test_several_labels(seed: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    target = random.random((40, classes)) < 0.4
    logits = random.normal(size=target.shape) + 2.0 * target - 1.0
    made = judged(target, logits)
    answer = logits >= 0
    assert values("accuracy", made)["accuracy"] == pytest.approx(reference.accuracy_score(target, answer))
    found = values("f1", made)
    for average in ("macro", "micro", "weighted"):
        seen = np.flatnonzero((target | answer).any(axis=0))
        for name in ("f1", "precision", "recall"):
            score = getattr(reference, f"{name}_score")
            wanted = score(target[:, seen], answer[:, seen], average=average, zero_division=0)
            assert found[f"{average}_{name}"] == pytest.approx(wanted)


@settings(max_examples=15, deadline=None)
@given(single(), st.integers(0, 1000))
def test_a_resample_is_the_score_of_its_rows(case: tuple[Any, Any], seed: int) -> None:
    """Counting rows gives what repeating them gives, for every metric that can be resampled."""
    target, logits = case
    drawn = np.random.default_rng(seed).integers(0, len(target), len(target))
    counts = np.bincount(drawn, minlength=len(target))[None, :].astype(np.float64)
    made, repeated = (replace(judged(target[rows], logits[rows]), rare=LABELS[:2]) for rows in (slice(None), drawn))
    for name in task.metrics:
        metric = registry.get("metrics", name)
        if hasattr(metric, "resample"):
            wanted = values(name, repeated)
            for score, found in metric.resample(made, counts).items():
                assert found[0] == pytest.approx(wanted[score], abs=1e-9), (name, score)


def test_areas_are_the_same_whatever_is_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    made = judged(random.integers(0, 3, 60), random.normal(size=(60, 3)).round(1))
    whole = values("roc-auc", made) | values("pr-auc", made)
    monkeypatch.setattr(ranking, "_PAIRS", 200)
    assert values("roc-auc", made) | values("pr-auc", made) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(("rows", "block"), [(10_000, 1024), (1_000_000, 64), (200_000_000, 1)])
def test_memory_is_bounded_for_many_rows(rows: int, block: int) -> None:
    assert [len(one) for one in ranking._blocks(np.arange(block + 1), rows)] == [block, 1]


def test_labels_that_were_never_trained_count_as_errors() -> None:
    made = judged(np.array([0, 1, 1]), np.eye(2)[[0, 1, 1]])
    strange = [*made.examples, Example("row 3", {"text": "text"}, "never seen")]
    more = Judged(strange, [*made.predictions, made.predictions[0]], made.outputs, made.schema)
    assert values("accuracy", more)["accuracy"] == 0.75


def test_drawn_curves_keep_their_area() -> None:
    random = np.random.default_rng(0)
    target = random.integers(0, 9, 2000)
    logits = random.normal(size=(2000, 9))
    logits[np.arange(2000), target] += 2.5
    made = judged(target, logits)
    chances = np.array([list(p.scores.values()) for p in made.predictions]).ravel()
    right = np.eye(9, dtype=bool)[target].ravel()
    roc = registry.get("metrics", "roc-auc").figures(made)["roc_curve"]
    assert np.trapezoid(roc["y"], roc["x"]) == pytest.approx(reference.roc_auc_score(right, chances), abs=0.003)
    curve = registry.get("metrics", "pr-auc").figures(made)["pr_curve"]
    assert np.trapezoid(curve["y"], curve["x"]) == pytest.approx(reference.average_precision_score(right, chances), abs=0.01)
    assert len(curve["x"]) <= 103
