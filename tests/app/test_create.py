"""What is refused when a job is created, and what waits instead: memory, priority; by REST too."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy import insert
from starlette.testclient import TestClient

from chats import lines
from luthier.api import create_app
from luthier.api.access import Guarded
from luthier.app import workers
from luthier.app.keys import Keys
from luthier.app.service import Service
from luthier.catalog import cards, places
from luthier.core.errors import Forbidden, SpecError
from luthier.store.tables import WORKERS

GIB = 2.0**30


@pytest.fixture
def body(service: Service) -> dict[str, Any]:
    info = service.files.create("chats.jsonl", "fine-tune", [lines(40, reply=("parcel", "refund"))])
    service.files.check(info.id)
    return {"model": "all-minilm-l6-v2", "training_file": info.id}


def _memory(monkeypatch: pytest.MonkeyPatch, *, total: float, free: float) -> None:
    """Of this machine."""
    facts = type("Memory", (), {"total": total, "available": free})
    monkeypatch.setattr("psutil.virtual_memory", lambda: facts)


def _worker(service: Service, given: float) -> None:
    with service.workspace.engine().begin() as connection:
        connection.execute(insert(WORKERS).values(machine=f"machine-{given:.0f}", memory_bytes=int(given), seen_at=time.time()))


NEEDED = cards.memory_bytes(cards.find("all-minilm-l6-v2"), "full")
FULL = {"train": {"method": "full"}}


def test_a_job_that_has_no_room_now_waits(service: Service, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    _memory(monkeypatch, total=2 * NEEDED, free=NEEDED / 100)
    job = service.fine_tuning.create(body | FULL)["id"]
    row = service.fine_tuning.rows.get(job)
    assert row["state"] == "queued"
    assert row["needs"] == {"memory_bytes": NEEDED, "executor": "local", "threads": row["needs"]["threads"], "device": "auto"}


def test_what_no_worker_can_ever_carry_is_refused(service: Service, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    _memory(monkeypatch, total=NEEDED, free=NEEDED)
    with pytest.raises(SpecError, match=rf"model: .* needs about {NEEDED / GIB:.1f} GiB to tune by full; no worker gives more") as caught:
        service.fine_tuning.create(body | FULL)
    assert "lora" in caught.value.hint
    assert service.fine_tuning.create(body | FULL | {"executor": "dummy"})["status"] == "queued", "its work is not done here"


def test_the_largest_worker_decides_and_not_the_server(service: Service, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    _memory(monkeypatch, total=NEEDED / 100, free=NEEDED / 200)
    places._hub_unreachable.cache_clear()
    _worker(service, NEEDED / 2)
    with pytest.raises(SpecError, match="no worker gives more than"):
        service.fine_tuning.create(body | FULL)
    _worker(service, 2 * NEEDED)
    assert service.fine_tuning.create(body | FULL)["status"] == "queued"
    _memory(monkeypatch, total=100 * NEEDED, free=100 * NEEDED)
    later = time.time() + workers.KNOWN_S + 1
    monkeypatch.setattr(workers.time, "time", lambda: later)
    assert workers.largest(service.workspace.engine()) > 2 * NEEDED, "workers that were not seen for long are none"


@pytest.mark.parametrize(
    ("scope", "priority", "status"), [("train", 10, 200), ("train", -10, 200), ("train", 11, 403), ("admin", 100, 200)]
)
def test_who_may_go_before_others(service: Service, body: dict[str, Any], scope: Any, priority: int, status: int) -> None:
    keys = Keys(service.workspace.engine())
    _, secret = keys.create("default", "k", [scope])
    with TestClient(create_app(service, workers=1, access=Guarded(keys))) as client:
        sent = body | {"executor": "dummy", "priority": priority}
        answer = client.post("/v1/fine_tuning/jobs", json=sent, headers={"authorization": f"Bearer {secret}"})
    assert answer.status_code == status, answer.text
    if status == 403:
        assert "admin" in answer.json()["error"]["message"]
        assert "-10 to 10" in answer.json()["error"]["hint"]


def test_in_the_process_of_the_operator_every_priority_may_be_asked(service: Service, body: dict[str, Any]) -> None:
    assert service.fine_tuning.create(body | {"priority": 100, "executor": "dummy"})["luthier"]["priority"] == 100
    with pytest.raises(Forbidden):
        service.fine_tuning.create(body | {"priority": -11}, admin=False)


def test_a_key_with_another_request_is_a_conflict_that_is_not_repeated(service: Service, body: dict[str, Any]) -> None:
    with TestClient(create_app(service, workers=1)) as client:
        first = client.post("/v1/fine_tuning/jobs", json=body | {"executor": "dummy"}, headers={"idempotency-key": "one"})
        again = client.post("/v1/fine_tuning/jobs", json=body | {"executor": "dummy"}, headers={"idempotency-key": "one"})
        other = client.post("/v1/fine_tuning/jobs", json=body | {"executor": "dummy", "seed": 2}, headers={"idempotency-key": "one"})
    assert first.json()["id"] == again.json()["id"]
    assert (other.status_code, other.json()["error"]["code"], other.headers["x-should-retry"]) == (409, "idempotency_error", "false")
