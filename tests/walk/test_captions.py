"""Captions from pictures in chats to a served endpoint that OpenAI's client asks with a picture, with a tiny captioner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from luthier.app.service import Service
from luthier.core.images import from_data_url
from luthier.core.spec import make_spec
from luthier.testing import made

TRAIN = {"epochs": 15, "learning_rate": 3e-3, "head_learning_rate": 3e-3, "precision": "fp32", "threads": 1}


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = tmp_path_factory.mktemp("captions")
    asked = [[{"type": "image_url", "image_url": {"url": row["image"]}}] for row in made.rows(90)]
    said = [row["caption"] for row in made.rows(90)]
    turns = [[{"role": "user", "content": a}, {"role": "assistant", "content": b}] for a, b in zip(asked, said, strict=True)]
    (place / "chats.jsonl").write_text("".join(json.dumps({"messages": one}) + "\n" for one in turns))
    recipe = {
        "name": "tiny",
        "task": "image-captioning",
        "model": str(made.base(architecture="vision")),
        "data": {"train": str(place / "chats.jsonl")},
        "train": TRAIN,
        "evaluate": {"bootstrap": 20, "written_rows": 20},
        "export": {"latency_seconds": 0.05, "max_metric_loss": 0.2},
        "deploy": {"endpoint": "captions"},
    }
    service = Service(str(place / "home"))
    return service, service.run(service.plan(make_spec(recipe)))


def test_it_looks_at_the_picture_and_says_what_it_shows(walked: Any) -> None:
    found = json.loads((Path(walked[1].evaluation.path) / "evaluation.json").read_text())
    rows = {row["name"]: row["scores"] for row in found["comparison"]}
    assert rows["this model"]["rouge_l"] > 0.9
    assert rows["shuffled-pictures"]["rouge_l"] < 0.6
    assert {"frequent-caption", "nearest-picture"} <= rows.keys()
    assert {"cider_d", "bleu_4", "attribute_f1"} <= rows["this model"].keys()
    page = (Path(walked[1].evaluation.path) / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == len(found["written"]) > 3, "a contact sheet"


def test_the_export_writes_what_torch_writes(walked: Any) -> None:
    facts = json.loads((Path(walked[1].export.path) / "export.json").read_text())
    assert facts["candidates"]["onnx-captioner-32"]["same_texts"] == 1.0


def test_openais_client_asks_with_a_picture(walked: Any) -> None:
    from starlette.testclient import TestClient

    from luthier.api import create_app

    row = made.rows(4)[2]
    with TestClient(create_app(walked[0], workers=1)) as client:
        content = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": row["image"]}}]
        body = {"model": "captions", "messages": [{"role": "user", "content": content}], "temperature": 0}
        said = client.post("/v1/chat/completions", json=body)
        assert said.status_code == 200, said.text
        assert said.json()["choices"][0]["message"]["content"] == row["caption"]
        native = client.post("/api/v1/endpoints/captions/predict", json={"images": [one["image"] for one in made.rows(6)]})
        assert [one["caption"] for one in native.json()["answers"]] == [one["caption"] for one in made.rows(6)]
        data = from_data_url(row["image"])
        form = client.post("/api/v1/endpoints/captions/predict", files={"image": ("a.png", data, "image/png")})
        assert form.json()["caption"] == row["caption"]
        assert client.post("/api/v1/endpoints/captions/predict", files={"photo": ("a.png", data)}).status_code == 400
        assert client.post("/api/v1/endpoints/captions/predict", files={"image": ("a.png", b"no picture")}).status_code == 400
        plain = client.post("/v1/chat/completions", json={"model": "captions", "messages": [{"role": "user", "content": "hello"}]})
        assert plain.status_code == 400
        assert "picture" in plain.json()["error"]["message"]
