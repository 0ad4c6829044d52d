"""The walks of tasks that write: conversations and documents in, a tiny decoder tuned, judged on what it writes, beside baselines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luthier.app.service import Service
from luthier.core import registry
from luthier.core.spec import make_spec
from luthier.core.types import Example
from luthier.stages.writing import prompt_of
from luthier.testing import made

TRAIN = {"epochs": 40, "learning_rate": 5e-3, "batch_tokens": 256, "dropout": 0.0, "patience": 0, "precision": "fp32", "threads": 1}


def _walk(tmp_path: Path, task: str, rows: list[dict[str, Any]], evaluate: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "name": "tiny",
        "task": task,
        "model": str(made.base(architecture="decoder")),
        "data": {"train": str(tmp_path / "rows.jsonl")},
        "prepare": {"near_duplicates": 1.0},
        "train": TRAIN,
        "evaluate": {"bootstrap": 50, "written_rows": 12, **evaluate},
    }
    service = Service(str(tmp_path / "home"))
    plan = service.plan(make_spec(recipe))
    dataset = service.prepare(plan)
    evaluation = service.evaluate(plan, service.train(plan, dataset))
    return evaluation, json.loads((Path(evaluation.path) / "evaluation.json").read_text())


@pytest.mark.long
def test_a_chat_learns_to_answer(tmp_path: Path) -> None:
    rows = [{"messages": row["messages"]} for row in made.rows(150)]
    evaluation, found = _walk(tmp_path, "chat", rows, {})
    scores = found["scores"]
    assert scores["rouge_l"]["value"] > 0.8
    assert scores["rouge_l"]["low"] <= scores["rouge_l"]["value"] <= scores["rouge_l"]["high"]
    assert scores["perplexity"]["value"] < 3
    base = next(row for row in found["comparison"] if row["name"] == "untouched")
    assert base["scores"]["rouge_l"] < 0.3
    assert base["gained"]["token_accuracy"] > 0.3
    assert "real difference" in base["test"]["saying"]
    assert len(found["written"]) == 12
    assert {"target", "output", "others", "score"} <= found["written"][0].keys()
    assert found["written"][0]["others"].keys() == {"untouched"}
    assert found["mistakes"] == found["slices"] == []
    page = (Path(evaluation.path) / "report.html").read_text()
    assert "untouched" in page
    assert found["written"][-1]["output"] in page


@pytest.mark.long
def test_summaries_are_judged_beside_extracts_and_in_folds(tmp_path: Path) -> None:
    rows = [{"text": row["text"], "summary": row["summary"]} for row in made.rows(120)]
    _, found = _walk(tmp_path, "summarization", rows, {"folds": 2, "baselines": ["lead-1", "textrank"]})
    assert found["primary_metric"] == "rouge_l"
    assert {row["name"] for row in found["comparison"]} == {"lead-1", "textrank", "this model"}
    assert found["scores"]["rouge_l"]["value"] > 0.6
    folds = found["cross_validation"]
    assert len(folds["scores"]["rouge_l"]["values"]) == 2
    assert all(value > 0.3 for value in folds["scores"]["rouge_l"]["values"])
    assert "label_errors" not in folds


@pytest.mark.parametrize("task", ["chat", "summarization"])
def test_no_token_of_a_target_reaches_what_is_written_from(task: str) -> None:
    plugin = registry.get("tasks", task)
    base = made.base(architecture="decoder")
    row = made.rows(1)[0]
    one = plugin.example(row, made_place())
    other = Example(one.id, one.inputs, {"role": "assistant", "content": "slow"} if task == "chat" else "slow")
    schema = plugin.schema([one.target, other.target])
    processor = plugin.processor(base, schema)
    items = plugin.encode([one, other, Example(one.id, one.inputs)], processor, schema)
    assert prompt_of(items[0]) == prompt_of(items[1]) == prompt_of(items[2]) == items[2]["input_ids"].tolist()
    assert not np.array_equal(items[0]["input_ids"], items[1]["input_ids"])
    assert items[2]["loss_mask"].sum() == 0
    assert "labels" not in items[2]


def made_place() -> Any:
    from luthier.core.types import Place

    return Place("made.csv", 2)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny chat model, through every stage to a listening server."""
    pytest.importorskip("onnxruntime_genai", reason="the extra genai is not installed")
    import socket
    import threading
    import time

    import uvicorn

    from luthier.api import create_app

    place = tmp_path_factory.mktemp("served")
    rows = [{"messages": row["messages"]} for row in made.rows(150)]
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "name": "tiny",
        "task": "chat",
        "model": str(made.base(architecture="decoder")),
        "data": {"train": str(place / "rows.jsonl")},
        "prepare": {"near_duplicates": 1.0},
        "train": TRAIN,
        "evaluate": {"bootstrap": 20, "written_rows": 8, "baselines": ["untouched"]},
        "export": {"runtimes": ["onnxruntime-genai"], "latency_seconds": 0.05, "rows": 8, "max_metric_loss": 0.2},
        "deploy": {"endpoint": "desk"},
    }
    service = Service(str(place / "home"))
    result = service.run(service.plan(make_spec(recipe)))
    app = create_app(service, workers=1)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", result
        server.should_exit = True
        thread.join(20)


def test_the_export_says_what_was_measured(served: Any) -> None:
    facts = json.loads((Path(served[1].export.path) / "export.json").read_text())
    assert facts["writes"] is True
    assert facts["runtime"] == "onnxruntime-genai"
    assert facts["candidates"]["onnxruntime-genai-32"]["same_tokens"] >= 0.99
    assert {speed["streams"] for speed in facts["candidates"]["onnxruntime-genai-32"]["speeds"]} == {1, 8, 32}


def test_openais_client_streams_what_it_says_whole(served: Any) -> None:
    from openai import OpenAI

    client = OpenAI(base_url=f"{served[0]}/v1", api_key="any", max_retries=0)
    asked: Any = [{"role": "user", "content": "hello where is my refund w5"}]
    whole = client.chat.completions.create(model="desk", messages=asked, temperature=0)
    assert whole.choices[0].message.content == "refund"
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    assert whole.usage.prompt_tokens > 5
    assert whole.usage.completion_tokens >= 1
    stream = client.chat.completions.create(
        model="desk", messages=asked, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices).strip() == "refund"
    assert chunks[-1].usage == whole.usage
    short = client.chat.completions.create(model="desk", messages=asked, temperature=0, max_tokens=1)
    assert short.usage is not None
    assert short.usage.completion_tokens == 1


def test_what_cannot_be_done_is_refused_by_name(served: Any) -> None:
    from openai import BadRequestError, OpenAI

    client = OpenAI(base_url=f"{served[0]}/v1", api_key="any", max_retries=0)
    asked: Any = [{"role": "user", "content": "hello"}]
    for more in ({"logit_bias": {"5": 1}}, {"logprobs": True}, {"response_format": {"type": "poem"}}):
        with pytest.raises(BadRequestError):
            client.chat.completions.create(model="desk", messages=asked, **more)  # type: ignore[call-overload]
    with pytest.raises(BadRequestError, match="embeddings"):
        client.embeddings.create(model="desk", input="hello")


def test_many_at_once_and_the_native_call(served: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    import httpx

    body = {"messages": [{"role": "user", "content": "my delivery is slow w7"}]}

    def ask(_: int) -> str:
        found = httpx.post(f"{served[0]}/api/v1/endpoints/desk/predict", json=body, timeout=30)
        found.raise_for_status()
        return str(found.json()["message"]["content"])

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(ask, range(32))) == {"delivery"}
