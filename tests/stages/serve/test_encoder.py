"""Embeddings: the graph of a base encoder gives what torch gives, a tuned model's own vectors are its graph's, tokens are checked."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luthier.core.errors import InputError
from luthier.core.types import Example
from luthier.stages.serve import encoder, encoder_graph
from luthier.stages.serve.engine import Closed, Endpoint

TEXTS = ["where is my parcel", "I was charged twice, and nobody answers. " * 12, "Ünïcode 😀", "a"]


@pytest.fixture(scope="session")
def tiny(exported: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base model's first two layers, as a base model's folder."""
    folder = tmp_path_factory.mktemp("tiny")
    config = json.loads((exported.base_folder() / "config.json").read_text()) | {"num_hidden_layers": 2}
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("model.safetensors", "tokenizer.json", "sentence_bert_config.json"):
        (folder / name).symlink_to(exported.base_folder() / name)
    return folder


@pytest.fixture(scope="module")
def made(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("encoder") / "out"
    encoder_graph.make(tiny, out)
    return out


@pytest.fixture
def opened(made: Path) -> Iterator[Endpoint]:
    endpoint = encoder.open_encoder(made, threads=1)
    yield endpoint
    endpoint.close()


def _vectors(endpoint: Endpoint, examples: list[Example]) -> Any:
    return np.stack([one.prediction.output for one in endpoint.predict_now(examples)])


def test_the_graph_gives_what_torch_gives(opened: Endpoint, tiny: Path, exported: Any) -> None:
    import torch

    schema = {"labels": ["none"], "multi_label": False, "max_tokens": 256}
    network = exported.TASK.load(tiny, schema).eval()
    items = exported.TASK.encode([encoder.text_example(text) for text in TEXTS], exported.TASK.processor(tiny, schema), schema)
    batch = exported.TASK.collate(items)
    with torch.inference_mode():
        right = network(torch.as_tensor(batch["input_ids"]), torch.as_tensor(batch["attention_mask"]))["embedding"].numpy()
    found = _vectors(opened, [encoder.text_example(text) for text in TEXTS])
    assert found.dtype == np.float32
    assert np.linalg.norm(found, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert ((found * encoder.normalised(right)).sum(axis=1) > 0.9999).all()
    assert np.abs(found - encoder.normalised(right)).max() < 1e-5


def test_tokens_are_the_models_own(opened: Endpoint, exported: Any) -> None:
    text = encoder.text_example(TEXTS[0])
    ids = exported.TASK.processor(exported.base_folder(), {}).encode(TEXTS[0]).ids
    assert np.allclose(*_vectors(opened, [text, encoder.token_example(ids)]), atol=1e-6)
    with pytest.raises(InputError, match="token 30522 is none of this model's 30522"):
        opened.predict_now([encoder.token_example([30522])])
    (long,) = opened.predict_now([encoder.token_example([101] * 5000)])
    assert long.tokens == 256


@pytest.mark.parametrize(
    ("config", "said", "most"),
    [
        ({"max_position_embeddings": 512}, {"max_seq_length": 128}, 128),
        ({"max_position_embeddings": 512}, None, 512),
        ({"max_position_embeddings": 514, "model_type": "roberta", "pad_token_id": 1}, None, 512),
        ({"max_position_embeddings": 130, "model_type": "roberta", "pad_token_id": 1}, None, 128),
        ({"max_position_embeddings": 8192}, {"max_seq_length": 8192}, 512),
        ({}, {}, 512),
    ],
)
def test_no_more_tokens_than_the_model_has_places_for(tmp_path: Path, config: dict[str, Any], said: Any, most: int) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    if said is not None:
        (tmp_path / "sentence_bert_config.json").write_text(json.dumps(said))
    assert encoder_graph.max_tokens(tmp_path) == most


def test_a_tuned_model_gives_its_own_vectors_beside_its_answers(export_folder: Path, exported: Any) -> None:
    endpoint = Endpoint.open(export_folder, threads=1)
    seen: list[Any] = []
    endpoint.watchers.append(lambda answers, outputs: seen.append(outputs["embedding"]))
    (example,) = endpoint.task.request({"text": "where is my parcel"})
    endpoint.predict_now([example])
    found = _vectors(endpoint.embeddings(), [example])
    assert np.allclose(found, encoder.normalised(seen[0]), atol=1e-5)
    assert endpoint.embeddings() is endpoint.embeddings()
    endpoint.close()
    with pytest.raises(Closed):
        endpoint.embeddings().predict_now([example])


def test_a_closed_endpoint_opens_no_vectors(export_folder: Path) -> None:
    endpoint = Endpoint.open(export_folder, threads=1)
    endpoint.close()
    with pytest.raises(Closed):
        endpoint.embeddings()


def test_a_server_that_embeds_needs_no_torch() -> None:
    code = "import sys; import luthier.stages.serve.encoder, luthier.stages.serve.host; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
