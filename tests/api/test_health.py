"""``/readyz``: what it looks at, what it says and to whom, and that it answers while something hangs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update
from starlette.testclient import TestClient

from luthier.api import create_app
from luthier.api import health as api_health
from luthier.api.access import Guarded
from luthier.api.health import Probe
from luthier.api.start import OpenHere
from luthier.app import health
from luthier.app.keys import Keys
from luthier.app.service import Service
from luthier.store.tables import ENDPOINTS, TUNINGS, WORKERS


@pytest.fixture
def service(filled: Any, tmp_path: Path) -> Service:
    """A workspace with one endpoint that is open and one that cannot be opened."""
    made: Service = filled.fill(tmp_path / "home")
    broken = {"name": "secret-broken", "task": "t", "export": "gone", "evaluation": "", "model": "m", "deployed_at": time.time()}
    with made.workspace.engine().begin() as connection:
        connection.execute(insert(ENDPOINTS), [broken])
    return made


@pytest.fixture
def guarded(service: Service) -> Iterator[TestClient]:
    with TestClient(create_app(service, workers=1, access=Guarded(Keys(service.workspace.engine())))) as client:
        yield client


def _checks(client: TestClient, key: str = "") -> dict[str, Any]:
    answer = client.get("/readyz", headers={"api-key": key} if key else {})
    said = answer.json()
    assert (answer.status_code == 200) == said["ready"]
    return dict(said["checks"]) | {"ready": said["ready"], "text": answer.text}


def test_everybody_is_told_why_and_only_who_may_look_is_told_names(guarded: TestClient, service: Service) -> None:
    keys = Keys(service.workspace.engine())
    strangers = [_checks(guarded), _checks(guarded, "lt-" + "a" * 43), _checks(guarded, keys.create("default", "i", ["infer"])[1])]
    for said in strangers:
        assert not said["ready"]
        assert said["endpoints"] == {"ok": False, "why": "1 of what is deployed cannot be opened"}
        assert said["database"] == {"ok": True, "why": ""}
        assert said["disk"]["ok"]
        assert said["disk"]["free_bytes"] > said["disk"]["needed_bytes"]
        assert not any(name in said["text"] for name in ("secret", "support", str(service.workspace.root)))
    told = _checks(guarded, keys.create("default", "r", ["read"])[1])
    assert told["endpoints"]["open"] == ["support"]
    assert set(told["endpoints"]["problems"]) == {"secret-broken"}


def test_a_page_in_a_browser_is_told_no_names(service: Service) -> None:
    with TestClient(create_app(service, workers=1, access=OpenHere()), base_url="http://evil.example") as client:
        assert "open" not in _checks(client)["endpoints"]
    with TestClient(create_app(service, workers=1, access=OpenHere()), base_url="http://127.0.0.1") as client:
        assert _checks(client)["endpoints"]["open"] == ["support"]


def test_jobs_without_a_worker_are_a_warning(tmp_path: Path) -> None:
    engine = Service(tmp_path).workspace.engine()
    assert health.database(engine)[1] == {"ok": True, "why": "no worker was seen lately; no job waits", "alive": False}
    job = {"id": "ftjob-1", "workspace": "a", "state": "queued", "model": "m", "training_file": "f", "seed": 1}
    with engine.begin() as connection:
        connection.execute(insert(TUNINGS), [job])
    assert health.database(engine)[1]["why"] == "no worker was seen lately, and jobs wait: luthier worker runs them"
    with TestClient(create_app(Service(tmp_path), workers=1)) as client:
        said = _checks(client)
        assert said["ready"]
        assert not said["worker"]["ok"]
    name = next(iter(WORKERS.primary_key)).name
    with engine.begin() as connection:
        connection.execute(insert(WORKERS), [{name: "elsewhere", "memory_bytes": 1, "seen_at": time.time()}])
    assert health.database(engine)[1] == {"ok": True, "why": "", "alive": True}
    with engine.begin() as connection:
        connection.execute(update(WORKERS).values(seen_at=time.time() - health.SEEN_S - 1))
    assert not health.database(engine)[1]["ok"]
    held = {"state": "running", "lease_owner": "elsewhere", "lease_token": "t", "lease_expires_at": time.time() + 9}
    with engine.begin() as connection:
        connection.execute(insert(TUNINGS), [job | held | {"id": "ftjob-2"}])
    assert health.database(engine)[1]["alive"], "who holds a job is alive"


def test_a_disk_without_room_is_said_with_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = health.disk([tmp_path / "not" / "there" / "yet"])
    assert found["ok"]
    assert 0 < found["needed_bytes"] <= health.ROOM_BYTES
    monkeypatch.setattr(health, "ROOM_SHARE", 1.0)
    monkeypatch.setattr(health, "ROOM_BYTES", 2**62)
    said = health.disk([tmp_path, tmp_path])
    assert not said["ok"]
    assert f"{said['free_bytes']:,} bytes left" in said["why"]
    assert str(tmp_path) not in said["why"]


def test_what_hangs_is_said_in_a_second_and_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, asked = threading.Event(), []

    def hanging(engine: Any) -> Any:
        asked.append(1)
        hangs.wait(20)
        return health_database(engine)

    health_database = health.database
    monkeypatch.setattr(health, "database", hanging)
    with TestClient(create_app(Service(tmp_path), workers=1)) as client:
        start = time.monotonic()
        said = _checks(client)
        assert time.monotonic() - start < api_health.BOUND_S + 1
        assert (said["ready"], said["database"]["why"]) == (False, "the database: no answer within 1 second")
        start = time.monotonic()
        assert not _checks(client)["ready"]
        assert time.monotonic() - start < 0.5, "it hangs already: that is known at once"
        assert asked == [1]
        hangs.set()
        end = time.monotonic() + 5
        while not _checks(client)["ready"] and time.monotonic() < end:
            time.sleep(0.02)
        assert _checks(client)["ready"]


def test_many_questions_are_one() -> None:
    asked: list[int] = []
    probe = Probe(lambda: asked.append(1) or len(asked), "late")

    async def many() -> list[Any]:
        return await asyncio.gather(*(probe.answer() for _ in range(50)))

    assert asyncio.run(many()) == [1] * 50
    assert asyncio.run(probe.answer()) == 1


def test_a_question_that_fails_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_health, "FRESH_S", 0.0)
    answers: list[Any] = [ZeroDivisionError(), "well"]

    def ask() -> Any:
        if isinstance(found := answers.pop(0), Exception):
            raise found
        return found

    probe = Probe(ask, "late")
    assert [asyncio.run(probe.answer()), asyncio.run(probe.answer())] == ["late", "well"]
