"""Embeddings by OpenAI's own client: every form of input and output, bases and tuned models, and what is refused."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from openai import AsyncAzureOpenAI

from luthier.app import encoders
from luthier.catalog import places


def _vectors(answer: Any) -> Any:
    return np.array([one.embedding for one in answer.data])


def test_texts_come_back_in_order_with_length_one(live: Any) -> None:
    client = live.openai()
    both = client.embeddings.create(model=live.tuned, input=["where is my parcel", "i want my money back"])
    one = client.embeddings.create(model=live.tuned, input="i want my money back")
    assert [entry.index for entry in both.data] == [0, 1]
    # The fixture's graph is int8, whose activations are rounded by the whole batch: the same text is near, not equal.
    other, same = _vectors(both) @ _vectors(one)[0]
    assert same > 0.97 > other
    assert np.linalg.norm(_vectors(both), axis=1) == pytest.approx(1.0, abs=1e-5)
    assert (both.usage.prompt_tokens, both.usage.total_tokens) == (13, 13)
    assert (both.object, both.model) == ("list", live.tuned)


def test_numbers_and_base64_are_the_same(live: Any) -> None:
    client = live.openai()
    plain = client.embeddings.create(model=live.tuned, input="a parcel", encoding_format="float").data[0].embedding
    raw = client.embeddings.with_raw_response.create(model=live.tuned, input="a parcel", encoding_format="base64")
    written = json.loads(raw.text())["data"][0]["embedding"] if callable(raw.text) else json.loads(raw.text)["data"][0]["embedding"]
    assert np.frombuffer(base64.b64decode(written), "<f4").tolist() == plain


def test_fewer_dimensions_have_length_one_again(live: Any) -> None:
    client = live.openai()
    whole = _vectors(client.embeddings.create(model=live.tuned, input="a parcel"))[0]
    short = _vectors(client.embeddings.create(model=live.tuned, input="a parcel", dimensions=16))[0]
    assert np.allclose(short, whole[:16] / np.linalg.norm(whole[:16]), atol=1e-5)


def test_tokens_are_taken_as_the_models_own(live: Any) -> None:
    client = live.openai()
    text = _vectors(client.embeddings.create(model=live.tuned, input="hello"))
    for ids in ([101, 7592, 102], [[101, 7592, 102]]):
        assert np.allclose(_vectors(client.embeddings.create(model=live.tuned, input=ids)), text, atol=1e-5)


def test_azure_asks_in_the_path_and_asynchronously(live: Any) -> None:
    async def ask() -> Any:
        async with AsyncAzureOpenAI(azure_endpoint=live.address, api_version="2024-10-21", api_key="any", max_retries=0) as client:
            return await client.embeddings.create(model=live.deployed, input=["a"] * 300)

    answer = asyncio.run(ask())
    assert len(answer.data) == 300
    assert np.allclose(_vectors(answer)[0], _vectors(live.openai().embeddings.create(model=live.tuned, input="a"))[0], atol=1e-5)


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No model of the hub is here, whatever this machine can reach."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    places._hub_unreachable.cache_clear()
    yield
    places._hub_unreachable.cache_clear()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"input": ""}, "empty"),
        ({"input": []}, "input"),
        ({"input": ["a", " "]}, "empty"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": [40000]}, "token 40000"),
        ({"input": [-1]}, "input"),
        ({"input": [[]]}, "input"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": 385}, "384"),
        ({"extra_body": {"dimension": 3}}, "did you mean 'dimensions'"),
        ({"extra_body": {"encoding_format": "hex"}}, "encoding_format"),
        ({"model": "gpt2"}, "need an encoder"),
        ({"model": "bert-large"}, "cannot be used here"),
    ],
)
def test_what_cannot_be_embedded_is_refused_with_a_reason(live: Any, given: dict[str, Any], said: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        live.openai().embeddings.create(**{"model": live.tuned, "input": "a"} | given)
    assert said in caught.value.message


def test_an_unknown_model_is_not_found(live: Any) -> None:
    with pytest.raises(openai.NotFoundError):
        live.openai().embeddings.create(model="all-minilm-l6-v3", input="a")


def test_a_base_encoder_is_made_ready_once_and_then_answers(live: Any, exported: Any) -> None:
    folder = live.service.workspace.root / "models" / "tiny"
    folder.mkdir(parents=True)
    config = json.loads((exported.base_folder() / "config.json").read_text()) | {"num_hidden_layers": 2}
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).symlink_to(exported.base_folder() / name)
    client = live.openai()
    assert "tiny" in [one.id for one in client.models.list()], "what the operator put there is listed"
    with pytest.raises(openai.InternalServerError) as caught:
        client.embeddings.create(model="tiny", input="a parcel")
    assert (caught.value.status_code, caught.value.code) == (503, "model_not_ready")
    live.service.models.encoders.wait()
    live.service.deployments.put("vectors", "tiny")
    first = _vectors(client.embeddings.create(model="tiny", input="a parcel"))
    assert np.linalg.norm(first) == pytest.approx(1.0, abs=1e-5)
    assert np.allclose(_vectors(live.azure().embeddings.create(model="vectors", input="a parcel")), first, atol=1e-6)
    with pytest.raises(openai.BadRequestError, match="base model"):
        client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "a"}])


def test_an_encoder_that_cannot_be_made_is_said_so_and_tried_again_later(
    live: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = encoders.Encoders(tmp_path)

    def broken(source: Path, target: Path) -> None:
        raise RuntimeError("No module named 'torch'")

    monkeypatch.setattr(made, "_run", broken)
    card = live.service.models.find("minilm").card
    assert made.folder(card) is None
    made.wait()
    with pytest.raises(Exception, match="No module named 'torch'"):
        made.folder(card)
    monkeypatch.setattr(encoders, "AGAIN_S", -1.0)
    assert made.folder(card) is None
    made.wait()
