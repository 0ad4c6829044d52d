"""LoRA beside whatever linear layers an architecture has: on decoders all of them, merged without a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.decoders import SHAPES, decoder

from luthier.core import registry
from luthier.core.errors import NotPossible
from luthier.core.plan import TrainPlan
from luthier.networks import language_model
from luthier.stages.train.fit import fit
from luthier.stages.train.request import FitRequest
from luthier.testing import made

LORA = registry.get("methods", "lora")
PLAN = TrainPlan(method="lora", lora_rank=4)
TARGETS = {
    "llama": {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
    "qwen2": {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
    "gemma": {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
    "phi": {"q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"},
    "gpt_neox": {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"},
    "gpt2": {"c_attn", "c_proj", "c_fc"},
}


def adapted(model: Any) -> set[str]:
    """The layers that have an adapter."""
    return {name.split(".lora_A")[0].rsplit(".", 1)[-1] for name, _ in model.named_parameters() if ".lora_A" in name}


@pytest.mark.parametrize("kind", SHAPES)
def test_every_linear_layer_of_a_decoder_gets_one_and_the_merge_says_the_same(kind: str, tmp_path: Path) -> None:
    model = language_model.load(decoder(kind))
    names, ids = set(model.state_dict()), torch.randint(5, 60, (2, 9), generator=torch.Generator().manual_seed(1))
    before = model.eval()(ids)["loss_sum"]
    ready = LORA.apply(model, PLAN)
    assert adapted(ready) == TARGETS[kind]
    assert all("lora_" in name for name, one in ready.named_parameters() if one.requires_grad)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, one in ready.named_parameters():
            if "lora_B" in name:
                one.copy_(0.5 * torch.randn(one.shape, generator=generator))
        moved = ready(ids)["loss_sum"]
        assert not torch.allclose(moved, before, atol=1e-2)
        merged = LORA.merge(ready)
        assert set(merged.state_dict()) == names
        assert torch.allclose(merged(ids)["loss_sum"], moved, atol=1e-3)
        merged.save(tmp_path)
        assert torch.allclose(language_model.load(tmp_path).eval()(ids)["loss_sum"], moved, atol=1e-3)


def test_named_layers_alone_by_any_of_their_names() -> None:
    plan = PLAN.model_copy(update={"lora_targets": ["query", "down_proj"]})
    assert adapted(LORA.apply(language_model.load(decoder("llama")), plan)) == {"q_proj", "down_proj"}
    with pytest.raises(NotPossible, match="nowhere") as caught:
        LORA.apply(language_model.load(decoder("gpt2")), PLAN.model_copy(update={"lora_targets": ["nowhere"]}))
    assert "c_attn" in caught.value.hint


def test_of_an_encoder_query_and_value() -> None:
    model = registry.get("tasks", "text-classification").load(made.base(), made.schema())
    assert adapted(LORA.apply(model, PLAN)) == {"query", "value"}


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_footprint_counts_what_learns(kind: str) -> None:
    from luthier.store import files

    card = files.read_json(decoder(kind) / "config.json") | {"tokens": 10}
    ready = LORA.apply(language_model.load(decoder(kind)), PLAN)
    learns = sum(one.numel() for one in ready.parameters() if one.requires_grad)
    assert LORA.footprint(card, PLAN, 640).trained_parameters == pytest.approx(learns, rel=0.2)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_chat_is_learned_by_adapters_alone(kind: str) -> None:
    task = registry.get("tasks", "chat")
    some = [task.example(row, _place()) for row in made.rows(30)]
    schema = {**task.schema([one.target for one in some]), "max_tokens": 32}
    base = decoder(kind)
    items = task.encode(some, task.processor(base, schema), schema)
    plan = TrainPlan(
        method="lora",
        lora_rank=16,
        epochs=40,
        learning_rate=1e-2,
        batch_tokens=128,
        dropout=0.0,
        patience=0,
        fitted_head=False,
        precision="fp32",
    )
    result = fit(FitRequest(task, base, schema, plan, items, items, some))
    losses = [one["validation_loss"] for one in result.curves["epochs"]]
    assert losses[-1] < 0.95 * losses[0]  # a frozen base of random weights gives adapters little to say
    assert set(result.model.state_dict()) == set(task.load(base, schema).state_dict())


def _place() -> Any:
    from luthier.core.types import Place

    return Place("made.jsonl", 1)
