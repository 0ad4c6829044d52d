"""A request makes one job, however often it comes, on whichever server, and whatever comes in between; on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from chats import lines
from luthier.app import creating
from luthier.app.creating import KeyReused
from luthier.app.fine_tuning import FineTuning
from luthier.app.service import Service
from luthier.app.workspaces import Workspaces
from luthier.core.errors import QuotaExceeded
from luthier.store.database import connect
from luthier.store.tables import TUNINGS


@pytest.fixture(params=["sqlite", "postgres"])
def servers(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Service]]:
    """Makes servers on one database and one home."""
    if request.param == "postgres":
        monkeypatch.setenv("LUTHIER_DATABASE", request.getfixturevalue("postgres_url"))
    yield lambda workspace="default": Service(tmp_path / "home", workspace=workspace)
    Service(tmp_path / "home").workspace.engine().dispose()
    connect.cache_clear()


def _file(service: Service) -> str:
    info = service.files.create("chats.jsonl", "fine-tune", [lines(40, reply=("parcel", "refund"))])
    service.files.check(info.id)
    return str(info.id)


@pytest.fixture
def body(servers: Callable[..., Service]) -> dict[str, Any]:
    return {"model": "all-minilm-l6-v2", "training_file": _file(servers()), "executor": "dummy"}


def _count(service: Service) -> int:
    return len(service.fine_tuning.rows.page(100))


def test_each_post_is_a_job_and_a_repetition_is_none(servers: Callable[..., Service], body: dict[str, Any]) -> None:
    first, second = servers().fine_tuning, servers().fine_tuning
    made = [first.create(body)["id"], second.create(body)["id"]]
    assert second.create(body, repeated=True)["id"] == made[1] != made[0]
    other = second.create(body | {"seed": 5}, repeated=True)["id"]
    assert first.create(body | {"seed": 5}, repeated=True)["id"] == other
    assert _count(servers()) == 3
    events = [event["message"] for event in first.events(other)["data"]][::-1]
    assert events[0] == f"Created fine-tuning job: {other}"
    assert len(events) == 3


def test_a_first_try_that_is_still_at_work_elsewhere_finds_the_job_of_its_repetition(
    servers: Callable[..., Service], body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = servers().fine_tuning, servers().fine_tuning
    planning, go, intent = threading.Event(), threading.Event(), FineTuning.intent

    def held(self: FineTuning, *args: Any, **options: Any) -> Any:
        if self is slow:
            planning.set()
            assert go.wait(30)
        return intent(self, *args, **options)

    monkeypatch.setattr(FineTuning, "intent", held)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(slow.create, body)
        assert planning.wait(30)
        repeated = quick.create(body, repeated=True)
        go.set()
        assert first.result(30)["id"] == repeated["id"]
    assert _count(servers()) == 1
    assert slow.create(body)["id"] != repeated["id"], "a new request, though it is equal, is a new job"


def test_a_slow_plan_in_one_workspace_stops_nobody(
    servers: Callable[..., Service], body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    go, intent = threading.Event(), FineTuning.intent

    def held(self: FineTuning, *args: Any, **options: Any) -> Any:
        assert self.rows.workspace != "slow" or go.wait(30)
        return intent(self, *args, **options)

    monkeypatch.setattr(FineTuning, "intent", held)
    slow = servers("slow")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(slow.fine_tuning.create, body | {"training_file": _file(slow)})
        servers().fine_tuning.create(body)
        assert not first.done()
        go.set()
        first.result(30)


@pytest.mark.parametrize("how", [{"repeated": True}, {"idempotency": "one"}, {"idempotency": "one", "repeated": True}])
def test_many_at_once_make_one_job(servers: Callable[..., Service], body: dict[str, Any], how: dict[str, Any]) -> None:
    start, made = threading.Barrier(6), [servers().fine_tuning for _ in range(6)]

    def create(jobs: FineTuning) -> str:
        start.wait()
        return str(jobs.create(body, **how)["id"])

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(create, made))
    assert len(set(found)) == 1
    assert _count(servers()) == 1


def test_a_key_is_of_one_request(servers: Callable[..., Service], body: dict[str, Any]) -> None:
    jobs = servers().fine_tuning
    first = jobs.create(body, idempotency="one")["id"]
    assert servers().fine_tuning.create(dict(reversed(body.items())), idempotency="one")["id"] == first, "the order of fields is none"
    with pytest.raises(KeyReused, match=first) as caught:
        jobs.create(body | {"seed": 3}, idempotency="one")
    assert caught.value.code == "idempotency_error"
    assert jobs.create(body | {"seed": 3}, idempotency="two")["id"] != first
    assert jobs.create(body, repeated=True)["id"] != first, "who sends no key repeats no request that had one"
    blue = servers("blue")
    assert blue.fine_tuning.create(body | {"training_file": _file(blue)}, idempotency="one")["id"] != first, "and of one workspace"


def test_a_key_is_known_for_a_day_and_a_request_for_ten_minutes(servers: Callable[..., Service], body: dict[str, Any]) -> None:
    service = servers()
    for how, most_s in (({"idempotency": "one"}, creating.KEY_S), ({"repeated": True}, creating.REPEAT_S)):
        first = service.fine_tuning.create(body, **how)["id"]
        for age, same in ((most_s - 60, True), (most_s + 60, False)):
            with service.workspace.engine().begin() as connection:
                connection.execute(update(TUNINGS).where(TUNINGS.c.id == first).values(created_at=time.time() - age))
            assert (service.fine_tuning.create(body, **how)["id"] == first) is same
    with pytest.raises(KeyReused):
        service.fine_tuning.create(body | {"seed": 4}, idempotency="one")


def test_the_limit_of_jobs_holds_when_many_come_at_once(servers: Callable[..., Service], body: dict[str, Any]) -> None:
    Workspaces(servers().workspace.engine()).set("default", {"jobs_queued": 3})
    start, made = threading.Barrier(6), [servers().fine_tuning for _ in range(6)]

    def create(jobs: FineTuning) -> bool:
        start.wait()
        try:
            return bool(jobs.create(body))
        except QuotaExceeded:
            return False

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(create, made)) == 3
    assert _count(servers()) == 3
    known = made[0].rows.page(1)[0]
    assert made[0].create(body, repeated=True)["id"] == known["id"], "a repetition needs no place of its own"
