"""What runs models that write gives what torch gives, alone and beside others, and does what it is asked."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.core import registry
from luthier.core.errors import Damaged, InputError, NotPossible
from luthier.core.writing import Sampling, Wrote
from luthier.networks import generation, language_model
from luthier.stages.export.writing import write_all
from luthier.store import files
from luthier.testing import made


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of a shape that the builder takes, sharpened so that no two tokens are nearly as likely."""
    from transformers import LlamaConfig, LlamaForCausalLM

    place = tmp_path_factory.mktemp("llama")
    torch.manual_seed(3)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    network = LlamaForCausalLM(LlamaConfig(**shape, vocab_size=96, max_position_embeddings=128, tie_word_embeddings=True, eos_token_id=2))
    with torch.no_grad():
        network.get_input_embeddings().weight.mul_(30)
    network.save_pretrained(place)
    shutil.copyfile(made.base(architecture="decoder") / "tokenizer.json", place / "tokenizer.json")
    return place


@pytest.fixture(scope="module", params=["onnxruntime-genai", "openvino-genai"])
def plugin(request: Any) -> Any:
    """Each runtime that writes, where it is installed."""
    found = registry.get("runtimes", request.param)
    if found.missing():
        pytest.skip(found.missing())
    return found


@pytest.fixture(scope="module")
def folder(plugin: Any, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("genai") / "fp32"
    place.mkdir()
    plugin.convert_model(model, place, 32)
    return place


@pytest.fixture(scope="module")
def writer(plugin: Any, folder: Path) -> Any:
    opened = plugin.open_writer(folder)
    yield opened
    opened.close()


def _prompts(count: int) -> list[list[int]]:
    draw = torch.Generator().manual_seed(5)
    return [torch.randint(3, 96, (2 + n * 3 % 11,), generator=draw).tolist() for n in range(count)]


def test_the_same_tokens_as_torch_alone_and_together(writer: Any, model: Path) -> None:
    prompts = _prompts(16)
    right = generation.write(language_model.load(model), prompts, 12, ())
    assert write_all(writer, prompts, Sampling(max_tokens=12))[0] == right
    assert [write_all(writer, [prompt], Sampling(max_tokens=12))[0][0] for prompt in prompts[:3]] == right[:3]


def test_stops_and_lengths(writer: Any) -> None:
    prompt = _prompts(1)[0]
    free = write_all(writer, [prompt], Sampling(max_tokens=9))[0][0]
    assert len(free) == 9
    stopped = write_all(writer, [prompt], Sampling(max_tokens=9, stop_ids=(free[4],)))[0][0]
    assert stopped == free[: free.index(free[4])]
    assert len(write_all(writer, [prompt], Sampling(max_tokens=500))[0][0]) == writer.context - len(prompt)


def test_seeds_repeat_and_differ(writer: Any) -> None:
    prompt = _prompts(1)[0]
    hot = [write_all(writer, [prompt], Sampling(max_tokens=20, temperature=30.0, seed=seed))[0][0] for seed in (1, 1, 2)]
    assert hot[0] == hot[1]
    assert hot[0] != hot[2]


def test_who_does_not_listen_is_let_go_and_closing_ends(plugin: Any, folder: Path) -> None:
    writer = plugin.open_writer(folder)
    heard: list[Wrote] = []
    writer.write([5, 6], Sampling(max_tokens=100), lambda said: bool(heard.append(said)))
    ended = threading.Event()
    finishes: list[str] = []

    def slow(said: Wrote) -> bool:
        time.sleep(0.005)
        if said.finish:
            finishes.append(said.finish)
            ended.set()
        return True

    writer.write([7], Sampling(max_tokens=120), slow)
    time.sleep(0.05)
    writer.close()
    assert ended.wait(5)
    assert finishes == ["cancelled"]
    assert len(heard) == 1
    with pytest.raises(NotPossible, match="closed"):
        writer.write([5], Sampling(), slow)


def test_what_cannot_be_written_or_opened_is_said(plugin: Any, writer: Any, tmp_path: Path, model: Path) -> None:
    with pytest.raises(InputError, match="tokens"):
        writer.write([5] * writer.context, Sampling(), lambda said: True)
    with pytest.raises(InputError):
        writer.write([], Sampling(), lambda said: True)
    with pytest.raises(Damaged):
        plugin.open_writer(tmp_path)
    assert plugin.fits(files.read_json(model / "config.json")) == ""
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(NotPossible, match=r"cannot be made|cannot export"):
        plugin.convert_model(tmp_path, tmp_path / "out", 32)


@pytest.mark.parametrize("bits", [8, pytest.param(4, marks=pytest.mark.long)])
def test_smaller_weights_write_too(plugin: Any, model: Path, tmp_path: Path, bits: int) -> None:
    (tmp_path / "small").mkdir()
    plugin.convert_model(model, tmp_path / "small", bits)
    writer = plugin.open_writer(tmp_path / "small")
    assert len(write_all(writer, _prompts(2), Sampling(max_tokens=5))[0][1]) == 5
    writer.close()


def test_gpt2_is_for_openvino(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    assert "gpt2" in registry.get("runtimes", "onnxruntime-genai").fits({"model_type": "gpt2"})
    runtime = registry.get("runtimes", "openvino-genai")
    assert runtime.fits({"model_type": "gpt2"}) == ""
    assert "encoder" in runtime.fits({"model_type": "t5", "is_encoder_decoder": True})
    if runtime.missing():
        pytest.skip(runtime.missing())
    torch.manual_seed(3)
    network = GPT2LMHeadModel(GPT2Config(vocab_size=96, n_embd=32, n_layer=2, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=2))
    with torch.no_grad():
        network.get_input_embeddings().weight.mul_(30)
    network.save_pretrained(tmp_path / "model")
    (tmp_path / "made").mkdir()
    runtime.convert_model(tmp_path / "model", tmp_path / "made", 32)
    writer = runtime.open_writer(tmp_path / "made")
    right = generation.write(language_model.load(tmp_path / "model"), _prompts(8), 12, ())
    assert write_all(writer, _prompts(8), Sampling(max_tokens=12))[0] == right
    with pytest.raises(InputError, match="JSON schema"):
        writer.write([5], Sampling(json_schema="{}"), lambda said: True)
    writer.close()


def test_random_weights_hold_to_a_json_schema_and_to_penalties(plugin: Any, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(["a b"], trainers.BpeTrainer(vocab_size=260, special_tokens=["<|im_end|>"], initial_alphabet=alphabet))
    (tmp_path / "model").mkdir()
    tokenizer.save(str(tmp_path / "model" / "tokenizer.json"))
    end = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>"}
    files.write_json(tmp_path / "model" / "tokenizer_config.json", end)
    torch.manual_seed(3)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    size = {"vocab_size": tokenizer.get_vocab_size(), "max_position_embeddings": 256, "bos_token_id": None, "eos_token_id": 0}
    LlamaForCausalLM(LlamaConfig(**shape, **size)).save_pretrained(tmp_path / "model")
    (tmp_path / "made").mkdir()
    plugin.convert_model(tmp_path / "model", tmp_path / "made", 32)
    fields = {"n": {"type": "integer", "maximum": 99, "minimum": 0}, "ok": {"type": "boolean"}}
    schema = {"type": "object", "properties": fields, "required": ["n", "ok"], "additionalProperties": False}
    asked = Sampling(max_tokens=200, temperature=1.0, seed=1, stop_ids=(0,), json_schema=json.dumps(schema))
    writer = plugin.open_writer(tmp_path / "made")
    heard: list[Wrote] = []
    ended = threading.Event()

    def hear(said: Wrote) -> bool:
        heard.append(said)
        if said.finish:
            ended.set()
        return True

    writer.write(tokenizer.encode("a b").ids, asked, hear)
    assert ended.wait(60)
    if plugin.name == "openvino-genai":
        with pytest.raises(InputError, match="presence_penalty"):
            writer.write([5, 6], Sampling(presence_penalty=2.0), hear)
    else:
        free, others = (write_all(writer, [[5, 6]], Sampling(max_tokens=40, presence_penalty=much))[0][0] for much in (0.0, 2.0))
        assert len(set(free)) < len(set(others)) == 40
    writer.close()
    assert heard[-1].finish == "stop"
    found = json.loads(tokenizer.decode([token for said in heard for token in said.ids]))
    assert found.keys() == {"n", "ok"}
    assert 0 <= found["n"] <= 99
