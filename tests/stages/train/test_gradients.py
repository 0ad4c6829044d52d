"""A batch in pieces has the gradients of the whole batch, whatever its loss is a mean of; and a training in pieces goes on after a kill."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests import decoders
from tests.stages.train.test_fit import Killed, assert_identical, request, stopped_after, weights

from luthier.core import registry
from luthier.core.errors import NotPossible
from luthier.core.plan import TrainPlan
from luthier.core.types import Place
from luthier.networks.touched_rows import put_in
from luthier.stages.inference import tensors
from luthier.stages.train.fit import fit
from luthier.stages.train.gradients import Gradients
from luthier.stages.train.planned import objective_of
from luthier.stages.train.request import FitRequest, prepare_model, recompute
from luthier.testing import made

ROWS = 10


def _asked(task: str, base: Path, **plan: Any) -> FitRequest:
    plugin = registry.get("tasks", task)
    examples = [plugin.example(row, Place("made.csv", number)) for number, row in enumerate(made.rows(ROWS), 2)]
    schema = {**plugin.schema([one.target for one in examples]), "max_tokens": 48}
    items = plugin.encode(examples, plugin.processor(base, schema), schema)
    return FitRequest(plugin, base, schema, TrainPlan(dropout=0.0, **plan), items)


def _gradients(asked: FitRequest, class_weights: Any = None) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss and every gradient; of the word vectors as a whole table."""
    model = prepare_model(asked).train()
    rows = put_in(model.trunk)
    found = Gradients(asked, model, objective_of(asked), class_weights, 0)
    loss = found.add(np.arange(ROWS), lambda numbers: tensors(asked.task, [asked.train[n] for n in numbers]), 5)
    grads = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    if rows is not None and rows.touched is not None:
        used, values = rows.touched
        assert values.grad is not None
        grads["rows"] = torch.zeros_like(rows.weight).index_copy_(0, used, values.grad)
    return loss, grads


def _assert_same(one: tuple[float, dict[str, torch.Tensor]], other: tuple[float, dict[str, torch.Tensor]]) -> None:
    assert one[0] == pytest.approx(other[0], rel=1e-5)
    assert one[1].keys() == other[1].keys()
    assert len(one[1]) > 3
    for name, grad in one[1].items():
        torch.testing.assert_close(grad, other[1][name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("pieces", [3, 99])
@pytest.mark.parametrize("kind", ["llama", "qwen2"])  # word vectors that the output layer shares, and of their own
def test_a_writer_s_gradients_are_weighed_by_tokens(kind: str, pieces: int) -> None:
    asked = _asked("chat", decoders.decoder(kind))
    assert len({int(item["loss_mask"].sum()) for item in asked.train} | {len(item["input_ids"]) for item in asked.train}) > 2
    _assert_same(_gradients(asked), _gradients(replace(asked, plan=asked.plan.model_copy(update={"accumulation": pieces}))))


def test_so_are_those_of_plain_text() -> None:
    asked = _asked("language-modeling", decoders.decoder("qwen2"))
    _assert_same(_gradients(asked), _gradients(replace(asked, plan=asked.plan.model_copy(update={"accumulation": 4}))))


@pytest.mark.parametrize(
    ("task", "plan", "weighed"),
    [
        ("text-classification", {}, False),
        ("text-classification", {"loss": "focal", "label_smoothing": 0.1}, True),
        ("text-classification", {"label_smoothing": 0.1}, True),
        ("text-classification", {"method": "contrastive"}, False),  # every pair of the batch counts
        ("text-classification", {"method": "lora"}, False),
        ("token-classification", {}, False),
        ("intent-entities", {}, False),  # a sum of two means
    ],
)
def test_whatever_the_loss_is_a_mean_of(task: str, plan: dict[str, Any], weighed: bool) -> None:
    asked = _asked(task, made.base(), **plan)
    class_weights = torch.tensor([0.5, 1.0, 3.0]) if weighed else None
    whole = _gradients(asked, class_weights)
    pieces = _gradients(replace(asked, plan=asked.plan.model_copy(update={"accumulation": 3})), class_weights)
    _assert_same(whole, pieces)


@pytest.mark.parametrize("plan", [{}, {"method": "lora"}, {"accumulation": 2}])
def test_activations_that_are_computed_again_are_the_same(plan: dict[str, Any]) -> None:
    base = decoders.decoder("qwen2")
    again = _asked("chat", base, gradient_checkpointing=True, **plan)
    layers = [module for module in prepare_model(again).trunk.modules() if getattr(module, "gradient_checkpointing", False)]
    assert layers
    _assert_same(_gradients(_asked("chat", base, **plan)), _gradients(again))


def test_a_model_that_cannot_compute_its_layers_again_says_so() -> None:
    with pytest.raises(NotPossible, match=r"train\.gradient_checkpointing: Linear cannot"):
        recompute(SimpleNamespace(trunk=torch.nn.Linear(2, 2)))


def test_a_killed_training_in_pieces_ends_with_identical_weights(small: Any, tmp_path: Path) -> None:
    few = SimpleNamespace(**{**vars(small), "train": small.train[:40], "validation": small.validation[:10], "judged": small.judged[:10]})
    plan = {"epochs": 1, "accumulation": 3, "gradient_checkpointing": True}
    whole = fit(request(few, **plan))
    with pytest.raises(Killed):
        fit(request(few, tmp_path, **plan), stopped_after(2))
    resumed = fit(request(few, tmp_path, **plan))
    assert resumed.resumed_at == 2
    assert_identical(weights(whole.model), weights(resumed.model))
