"""A PostgreSQL that goes away and comes back while a server and a worker run: said in one shape, nothing lost, nothing started anew."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chats import lines
from luthier.api import create_app
from luthier.api.access import Guarded
from luthier.app.keys import Keys
from luthier.app.worker import Worker

SMALL = {
    "train": {"epochs": 1},
    "evaluate": {"baselines": ["majority"], "bootstrap": 20},
    "export": {"latency_seconds": 0.02, "max_label_change": 1, "max_metric_loss": 1, "runtimes": ["onnx"]},
}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A PostgreSQL of this test's own: the others' must not stop."""
    with sys.modules["postgres"].cluster_or_skip() as made:
        monkeypatch.setenv("LUTHIER_DATABASE", made.database("away"))
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        yield made


@pytest.fixture
def server(cluster: Any, filled: Any, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client with an admin key of a listening server; a worker runs beside it."""
    service = filled.fill(tmp_path / "home")
    keys, worker = Keys(service.workspace.engine()), Worker(str(tmp_path / "home"))
    working = threading.Thread(target=worker.run, daemon=True)
    working.start()
    with filled.listening(create_app(service, workers=1, access=Guarded(keys))) as address:
        head = {"api-key": keys.create("default", "test", ["admin"])[1]}
        with httpx.Client(base_url=address, headers=head, timeout=30, trust_env=False) as client:
            yield client
    worker.stop()
    working.join(30)


def wait(true: Callable[[], Any], seconds: float = 60.0) -> None:
    """Until it is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def _ready(client: httpx.Client) -> dict[str, Any]:
    answer = client.get("/readyz")
    assert answer.status_code == (200 if answer.json()["ready"] else 503)
    return dict(answer.json())


def _create(client: httpx.Client, file: str, seed: int) -> str:
    body = {"model": "all-minilm-l6-v2", "training_file": file, "executor": "dummy", "seed": seed, **SMALL}
    return str(client.post("/v1/fine_tuning/jobs", json=body).json()["id"])


def _is_away(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["x-request-id"]
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code", "hint", "target", "details", "innererror"}
    assert (error["code"], error["type"]) == ("database_away", "server_error")


def test_a_database_that_goes_and_comes_back(server: httpx.Client, cluster: Any) -> None:
    data = lines(160)
    file = server.post("/v1/files", data={"purpose": "fine-tune"}, files={"file": ("chats.jsonl", data)}).json()["id"]
    assert _ready(server)["ready"], _ready(server)
    jobs = [_create(server, file, seed) for seed in range(2)]
    wait(lambda: server.get(f"/v1/fine_tuning/jobs/{jobs[0]}").json()["status"] == "running")

    cluster.stop("immediate")
    wait(lambda: not _ready(server)["ready"], 5)
    checks = _ready(server)["checks"]
    assert not checks["database"]["ok"]
    assert checks["database"]["why"] == "the database does not answer: OperationalError"
    assert checks["disk"]["ok"]
    assert checks["endpoints"] == {"ok": True, "why": ""}
    for path in (
        "/v1/files",
        "/v1/fine_tuning/jobs",
        f"/v1/fine_tuning/jobs/{jobs[0]}/events",
        "/openai/models?api-version=1",
        "/api/v1/runs",
    ):
        _is_away(server.get(path))
    _is_away(server.post("/v1/fine_tuning/jobs", json={"model": "m", "training_file": file}))
    _is_away(server.post("/v1/files", data={"purpose": "fine-tune"}, files={"file": ("chats.jsonl", data)}))
    assert server.get("/healthz").status_code == 200
    time.sleep(3)

    cluster.start()
    wait(lambda: _ready(server)["ready"], 10)
    assert [one["id"] for one in server.get("/v1/fine_tuning/jobs").json()["data"]] == jobs[::-1]
    assert server.get(f"/v1/files/{file}/content").content == data
    assert server.post("/api/v1/endpoints/support/predict", json={"text": "hello"}).status_code == 200
    for job in jobs:
        wait(lambda job=job: server.get(f"/v1/fine_tuning/jobs/{job}").json()["status"] in ("succeeded", "failed"), 120)
        ended = server.get(f"/v1/fine_tuning/jobs/{job}").json()
        assert ended["status"] == "succeeded", ended["error"]


def test_a_database_that_hangs_is_said_in_a_second(server: httpx.Client, cluster: Any) -> None:
    assert _ready(server)["ready"], _ready(server)
    pid = int((cluster.data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
    group = [pid, *(int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split())]
    for one in group:
        os.kill(one, signal.SIGSTOP)
    try:
        time.sleep(1.1)
        start = time.monotonic()
        checks = _ready(server)["checks"]
        assert time.monotonic() - start < 1.8
        assert checks["database"]["why"] == "the database: no answer within 1 second"
    finally:
        for one in group:
            os.kill(one, signal.SIGCONT)
    wait(lambda: _ready(server)["ready"], 10)
