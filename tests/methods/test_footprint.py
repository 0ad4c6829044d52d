from __future__ import annotations

import pytest

from luthier.core import registry
from luthier.core.plan import TrainPlan
from luthier.methods._shape import shape

MINILM = {
    "hidden_size": 384,
    "intermediate_size": 1536,
    "num_hidden_layers": 6,
    "vocab_size": 30522,
    "parameters": 22_713_216,
    "tokens": 15,
}


def test_full_counts_what_the_facts_count() -> None:
    """21.2 M FLOP a token forward, and a little for attention; three times that for training."""
    footprint = registry.get("methods", "full").footprint(MINILM, TrainPlan(), 640)
    assert footprint.flop_per_token == pytest.approx(3 * (21.23e6 + 0.14e6), rel=0.01)
    assert footprint.trained_parameters == 22_713_216


def test_less_is_trained_by_the_cheaper_methods() -> None:
    cost = {name: registry.get("methods", name).footprint(MINILM, TrainPlan(method=name), 640) for name in ("full", "top", "lora", "head")}
    assert cost["full"].flop_per_token > cost["lora"].flop_per_token > cost["top"].flop_per_token > cost["head"].flop_per_token
    assert cost["full"].memory_bytes > cost["lora"].memory_bytes > cost["head"].memory_bytes
    assert cost["head"].cached_flop_per_token > cost["top"].cached_flop_per_token > cost["full"].cached_flop_per_token == 0


@pytest.mark.parametrize("name", ["full", "top", "lora", "head", "dummy"])
@pytest.mark.parametrize("effort", ["quick", "standard", "best"])
def test_defaults_are_fields_of_the_plan(name: str, effort: str) -> None:
    TrainPlan(method=name, **registry.get("methods", name).defaults(effort))


def test_a_decoder_counts_its_shared_keys_its_gate_and_its_output_layer() -> None:
    llama = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 384,
        "intermediate_size": 1024,
        "num_hidden_layers": 8,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "hidden_act": "silu",
        "vocab_size": 8192,
    }
    form = shape(llama)
    assert form.layer_parameters == 393_216 + 1_179_648
    assert form.parameters == 15_735_168 - (2 * 8 + 1) * 384
    assert form.forward_flop(0) == 2 * form.parameters
    assert shape(llama | {"architectures": ["BertModel"], "hidden_act": "gelu", "num_key_value_heads": None}).forward_flop(0) == 2 * 8 * (
        4 * 384**2 + 2 * 384 * 1024
    )


def test_pieces_and_layers_computed_again_need_less_memory() -> None:
    decoder = MINILM | {"architectures": ["LlamaForCausalLM"]}
    for name in ("full", "lora"):
        method = registry.get("methods", name)
        fixed = method.footprint(decoder, TrainPlan(method=name), 0).memory_bytes
        whole, pieces, again = (
            method.footprint(decoder, TrainPlan(method=name, **some), 4096).memory_bytes - fixed
            for some in ({}, {"accumulation": 4}, {"gradient_checkpointing": True})
        )
        assert pieces == pytest.approx(whole / 4)
        logits, layer = 3 * 30522, 14 * 384 + 3 * 1536
        assert again / whole == pytest.approx((logits + 6 * 384 + layer) / (logits + 6 * layer))
