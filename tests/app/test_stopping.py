"""Cancel and pause: a wish is written once, is not lost when the job changes hands, and waits without holding a thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import event
from starlette.testclient import TestClient

from luthier.api import create_app
from luthier.app import stopping
from luthier.app.fine_tuning import FineTuning
from luthier.app.service import Service
from luthier.core.errors import Conflict
from luthier.core.events import TuningMoved


@pytest.fixture
def jobs(service: Service) -> FineTuning:
    return service.fine_tuning


@pytest.fixture
def running(jobs: FineTuning) -> Callable[..., str]:
    """A job that this process holds; its token."""

    def make(name: str = "a") -> str:
        row = {"id": f"ftjob-{name}", "workspace": "default", "state": "queued", "model": "m", "training_file": "f", "seed": 1}
        return jobs.rows.claim(jobs.rows.add(row | {"metadata": {}, "needs": {"threads": 1}, "created_at": time.time()}))

    return make


@pytest.fixture
def written(service: Service) -> list[str]:
    """Every UPDATE that is sent."""
    seen: list[str] = []

    @event.listens_for(service.workspace.engine(), "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE"):
            seen.append(statement)

    return seen


def _moves(service: Service, job: str = "ftjob-a") -> list[str]:
    return [entry.body["new"] for entry in service.journal.all(about=job, names=[TuningMoved.name])]


def test_a_wish_is_written_once_however_long_it_takes(jobs: FineTuning, running: Callable[..., str], written: list[str]) -> None:
    token = running()
    written.clear()
    stop = jobs.stop("ftjob-a", "cancel")
    assert [stop.step() for _ in range(20)] == [False] * 20
    assert len(written) == 1
    assert jobs.rows.beat("ftjob-a", token, extend=False) == "cancel"
    jobs.rows.end("ftjob-a", token, "cancelled")
    assert stop.step()


def test_it_looks_again_less_and_less_often(monkeypatch: pytest.MonkeyPatch, jobs: FineTuning) -> None:
    now = [0.0]
    monkeypatch.setattr(stopping.time, "monotonic", lambda: now[0])
    rests = []
    for rest in jobs.stop("ftjob-a", "cancel").waits():
        rests.append(rest)
        now[0] += rest
    assert (rests[0], max(rests)) == (stopping.SOON_S, stopping.LATER_S)
    assert stopping.WAIT_S <= sum(rests) <= stopping.WAIT_S + stopping.LATER_S
    assert len(rests) < 30


def test_a_job_that_goes_back_to_the_queue_is_stopped_there(service: Service, jobs: FineTuning, running: Callable[..., str]) -> None:
    token = running()
    stop = jobs.stop("ftjob-a", "pause")
    assert not stop.step()
    jobs.rows.end("ftjob-a", token, "queued")
    assert jobs.rows.standing("ftjob-a") == ("queued", "pause")
    assert stop.step()
    assert jobs.rows.standing("ftjob-a") == ("paused", "")
    assert _moves(service) == ["paused"]


@pytest.mark.parametrize(
    ("wish", "left", "becomes"), [("cancel", "queued", "cancelled"), ("pause", "queued", "paused"), ("cancel", "paused", "cancelled")]
)
def test_a_wish_that_nobody_waits_for_any_more_comes_true(
    service: Service, jobs: FineTuning, running: Callable[..., str], wish: Any, left: Any, becomes: str
) -> None:
    """The caller's 20 seconds are over; then the worker ends, or pauses what was to be paused before it was to be cancelled."""
    token = running()
    assert not jobs.stop("ftjob-a", wish).step()
    jobs.rows.end("ftjob-a", token, left)
    assert jobs.rows.waiting() == [], "nobody begins it again"
    (row,) = jobs.rows.wished()
    jobs.settle(row)
    jobs.settle(row)
    assert jobs.rows.standing("ftjob-a")[0] == becomes
    assert jobs.rows.wished() == []
    assert _moves(service) == [becomes]
    assert (jobs.rows.get("ftjob-a")["finished_at"] > 0) == (becomes == "cancelled")


def test_to_cancel_outranks_to_pause(jobs: FineTuning, running: Callable[..., str], written: list[str]) -> None:
    token = running()
    pause, cancel = jobs.stop("ftjob-a", "pause"), jobs.stop("ftjob-a", "cancel")
    written.clear()
    for _ in range(3):
        assert not pause.step()
        assert not cancel.step()
    assert len(written) == 2, "they do not undo each other"
    assert jobs.rows.beat("ftjob-a", token, extend=False) == "cancel"
    jobs.rows.end("ftjob-a", token, "cancelled")
    assert pause.step()
    assert cancel.step()


def test_a_job_that_ends_before_its_worker_saw_the_wish_is_no_error(jobs: FineTuning, running: Callable[..., str]) -> None:
    token = running()
    stop = jobs.stop("ftjob-a", "cancel")
    assert not stop.step()
    jobs.rows.end("ftjob-a", token, "succeeded")
    assert stop.step()
    with pytest.raises(Conflict, match="is succeeded"):
        jobs.stop("ftjob-a", "cancel").step()


def test_a_hundred_cancels_at_once_leave_the_server_free(service: Service, jobs: FineTuning, running: Callable[..., str]) -> None:
    """As many as the server has threads for would be 40."""
    tokens = {f"ftjob-{number}": running(str(number)) for number in range(100)}
    with TestClient(create_app(service, workers=1)) as client, ThreadPoolExecutor(100) as pool:
        answers = [pool.submit(client.post, f"/v1/fine_tuning/jobs/{job}/cancel") for job in tokens]
        end = time.monotonic() + 60
        while any(jobs.rows.standing(job)[1] != "cancel" for job in tokens) and time.monotonic() < end:
            time.sleep(0.1)
        started = time.perf_counter()
        assert client.get("/v1/fine_tuning/jobs").status_code == 200
        assert time.perf_counter() - started < 3
        assert not any(answer.done() for answer in answers)
        for job, token in tokens.items():
            jobs.rows.end(job, token, "cancelled")
        assert {answer.result(60).json()["status"] for answer in answers} == {"cancelled"}
        assert client.post("/v1/fine_tuning/jobs/ftjob-1/cancel").status_code == 409
        assert client.post("/v1/fine_tuning/jobs/ftjob-none/pause").status_code == 404
