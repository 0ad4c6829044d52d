"""The catalog: every card is whole and right, found by any of its names, and says what tuning needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from luthier.catalog import cards
from luthier.core import registry
from luthier.core.errors import Damaged, InputError, UnknownName

CARDS = cards.list_cards()
NEEDED = (
    "all-minilm-l6-v2", "bert-base-uncased", "bert-large-uncased", "bert-tiny", "bert-medium", "distilbert-base-uncased", "modernbert-base",
    "roberta-base", "xlm-roberta-base", "deberta-v3-small", "deberta-v3-base", "multilingual-e5-small",
    "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl",
    "smollm2-135m", "smollm2-1.7b", "qwen2.5-0.5b", "qwen3-8b", "llama-3.2-1b", "llama-3.1-8b",
    "phi-3-mini-4k", "gemma-2b", "mistral-7b-v0.3", "olmo-2-1b", "tinyllama-1.1b", "pythia-160m",
    "resnet-18", "resnet-50", "inception-v3", "vit-base-patch16-224",
    "gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "o4-mini",
)  # fmt: skip


@pytest.mark.parametrize("name", NEEDED)
def test_what_the_four_jobs_need_is_there(name: str) -> None:
    assert cards.find(name).id == name


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)
def test_card_is_whole(card: cards.ModelCard) -> None:
    assert card.licence
    assert card.tasks
    if card.architecture == "hosted":
        assert not card.returns_weights
        assert "never returns weights" in card.notes.lower()
        return
    assert card.size_bytes > card.parameters
    assert card.hub.count("/") == (0 if card.source.name == "luthier" else 1), "what comes with the package is on no hub"
    if card.architecture != "vision":
        assert card.languages
        assert card.context_tokens >= 256


@pytest.mark.parametrize("card", [c for c in CARDS if cards.count_parameters(c.shape)], ids=lambda card: card.id)
def test_parameters_come_out_of_the_shape(card: cards.ModelCard) -> None:
    """The published number stands in the YAML; the formula must find it from the shape."""
    assert cards.count_parameters(card.shape) == pytest.approx(card.parameters, rel=0.02)


def test_only_inception_hosted_models_and_those_of_two_parts_have_no_formula() -> None:
    without = {c.id for c in CARDS if not cards.count_parameters(c.shape) and c.architecture != "hosted"}
    assert without == {"inception-v3", "starter-captioner"}


def test_published_numbers() -> None:
    """From the model pages: what the safetensors files hold."""
    published = {"bert-base-uncased": 109_482_240, "gpt2": 124_439_808, "llama-3.1-8b": 8_030_261_248, "resnet-50": 25_557_032}
    assert {name: cards.count_parameters(cards.find(name).shape) for name in published} == published


def test_no_name_is_used_twice() -> None:
    names = [name.lower() for card in CARDS for name in {card.id, *card.aliases}]
    assert len(names) == len(set(names))
    hubs = [card.hub for card in CARDS if card.hub]
    assert len(hubs) == len(set(hubs))


@pytest.mark.parametrize("name", ["all-minilm-l6-v2", "minilm", "MiniLM-L6", "sentence-transformers/all-MiniLM-L6-v2"])
def test_found_by_any_name(name: str) -> None:
    assert cards.find(name).id == "all-minilm-l6-v2"


def test_did_you_mean() -> None:
    with pytest.raises(UnknownName, match="all-minilm-l6v2") as caught:
        cards.find("all-minilm-l6v2")
    assert "did you mean 'all-minilm-l6-v2'" in caught.value.hint


def test_any_other_hub_id_gets_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    card = cards.find("somebody/some-model")
    assert (card.source.kind, card.source.name) == ("hub", "somebody/some-model")


def test_a_folder_gets_a_card_from_its_configuration(tmp_path: Path) -> None:
    source = cards.locate(cards.find("minilm"))
    (tmp_path / "config.json").write_text((source / "config.json").read_text())
    card = cards.find(str(tmp_path))
    assert card.source.kind == "path"
    assert card.architecture == "encoder"
    assert card.parameters == pytest.approx(22_713_216, rel=0.02)


def test_a_causal_folder_is_a_decoder(tmp_path: Path) -> None:
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "num_hidden_layers": 30, "hidden_size": 576,
        "intermediate_size": 1536, "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    card = cards.find(str(tmp_path))
    assert card.architecture == "decoder"
    assert card.parameters == pytest.approx(134_515_008, rel=0.02)
    assert card.context_tokens == 8192


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json"):
        cards.find(str(tmp_path))
    (tmp_path / "config.json").write_text("{torn")
    with pytest.raises(Damaged, match=r"config\.json"):
        cards.find(str(tmp_path))
    with pytest.raises(InputError, match="no folder"):
        cards.find("./not-there")
    with pytest.raises(InputError, match="no folder '~nobody-of-that-name/model'"):
        cards.find("~nobody-of-that-name/model")


def test_memory_falls_from_full_to_head() -> None:
    for name in ("all-minilm-l6-v2", "bert-base-uncased", "llama-3.1-8b", "vit-base-patch16-224"):
        card = cards.find(name)
        full, lora, top, head = (cards.memory_bytes(card, method) for method in ("full", "lora", "top", "head"))
        assert full > lora > head
        assert full > top > head
        assert full > 16 * card.parameters
        assert head > 4 * card.parameters


def test_memory_heeds_pieces_of_a_batch_and_layers_computed_again() -> None:
    card = cards.find("llama-3.1-8b")
    whole, pieces = (cards.memory_bytes(card, "lora", tokens_per_batch=tokens) for tokens in (4096, 1024))
    again = cards.memory_bytes(card, "lora", tokens_per_batch=4096, recomputed=True)
    assert whole > pieces > again - 4 * 2**30
    assert whole - again > 30 * 4 * 4096 * 13 * card.shape.hidden


def test_memory_knows_every_method_and_hosted_models_need_none() -> None:
    for method in registry.names("methods"):
        assert cards.memory_bytes(cards.find("bert"), method) > 0
    assert cards.memory_bytes(cards.find("gpt-4o"), "full") == 0
