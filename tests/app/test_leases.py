"""Leases: one holder at a time, a killed holder's lease is free at once, and nobody moves a job that is no longer theirs."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, insert, update

from luthier.app import leases as module
from luthier.app.leases import Leases, gone, owner
from luthier.core.errors import Conflict
from luthier.store.database import connect
from luthier.store.tables import JOBS

HOLDER = """
import sys
from luthier.app.leases import Leases
from luthier.store.database import connect
with Leases(connect(sys.argv[1])).held("job", "theirs", "train"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'luthier.db'}"


@pytest.fixture
def leases(address: str) -> Leases:
    return Leases(connect(address))


@pytest.fixture
def holder(address: str, leases: Leases) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease of ``job``."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def _hold(leases: Leases) -> str:
    with leases.held("job", "ours", "train") as token:
        return token


def _expire(leases: Leases) -> None:
    with leases.engine.begin() as connection:
        connection.execute(update(JOBS).values(lease_expires_at=time.time() - 1))


def test_what_a_living_process_holds_is_a_conflict_that_names_it(leases: Leases, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(Conflict, match=f"train of run 'theirs' is being done by .*:{holder.pid}:") as caught:
        _hold(leases)
    assert "wait until it ends" in caught.value.hint


def test_a_killed_holders_lease_is_free_at_once(leases: Leases, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    (row,) = leases.all()
    assert row["lease_expires_at"] > time.time() + 10
    assert _hold(leases) != row["lease_token"]
    assert leases.all()[0]["run"] == "ours"


def test_a_holder_that_ends_well_lets_go(leases: Leases, holder: subprocess.Popen[str]) -> None:
    holder.communicate("")
    (row,) = leases.all()
    assert (row["lease_owner"], row["lease_token"]) == ("", "")
    assert _hold(leases)


def test_one_process_cannot_hold_a_job_twice(leases: Leases) -> None:
    with leases.held("job", "ours", "train"), pytest.raises(Conflict):
        _hold(leases)
    assert _hold(leases)


def test_two_that_begin_the_same_new_job_at_once_are_a_conflict(leases: Leases) -> None:
    """Both saw that there is no such job, and the other one was first to write it."""
    others = {"id": "job", "run": "theirs", "stage": "train", "state": "queued", "artifact": "", "error": {}, "updated_at": 0.0}
    late: list[str] = []

    @event.listens_for(leases.engine, "before_cursor_execute")
    def other_first(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("INSERT INTO jobs") and not late:
            late.append(statement)
            with leases.engine.begin() as connection:
                connection.execute(insert(JOBS), [others])

    with pytest.raises(Conflict, match="train of run 'ours' was taken by another process just now") as caught:
        _hold(leases)
    assert caught.value.hint
    assert [row["run"] for row in leases.all()] == ["theirs"]


def test_a_lease_is_let_go_when_the_work_fails(leases: Leases) -> None:
    with pytest.raises(ZeroDivisionError), leases.held("job", "ours", "train"):
        raise ZeroDivisionError
    assert leases.all()[0]["lease_token"] == ""
    assert _hold(leases)


def test_an_expired_lease_can_be_taken_and_its_old_holder_moves_nothing(leases: Leases) -> None:
    with leases.held("job", "first", "train") as old:
        leases.move("job", old, "running")
        _expire(leases)
        with leases.held("job", "second", "train") as new:
            with pytest.raises(Conflict, match="taken over"):
                leases.move("job", old, "running")
            assert leases.all()[0]["state"] == "queued"
            assert leases.move("job", new, "running") == "queued"
            assert leases.move("job", new, "succeeded", artifact="model-1") == "running"
    assert leases.all()[0]["artifact"] == "model-1"


def test_an_old_holder_that_ends_does_not_take_the_new_ones_lease_away(leases: Leases) -> None:
    first = leases.held("job", "first", "train")
    first.__enter__()
    _expire(leases)
    with leases.held("job", "second", "train") as new:
        first.__exit__(None, None, None)
        assert leases.all()[0]["lease_token"] == new


def test_a_stale_token_moves_nothing(leases: Leases) -> None:
    with leases.held("job", "ours", "train"):
        with pytest.raises(Conflict, match="taken over by another process") as caught:
            leases.move("job", "0123456789abcdef", "running")
        assert caught.value.hint
        assert leases.all()[0]["state"] == "queued"


def test_illegal_moves_are_refused(leases: Leases) -> None:
    with leases.held("job", "ours", "train") as token:
        with pytest.raises(Conflict, match="is queued and cannot become succeeded"):
            leases.move("job", token, "succeeded")
        leases.move("job", token, "running")
        leases.move("job", token, "succeeded")
        with pytest.raises(Conflict, match="is succeeded and cannot become running"):
            leases.move("job", token, "running")


def test_a_heartbeat_keeps_the_lease(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEASE_S", 0.5)
    with leases.held("job", "ours", "train"):
        first = leases.all()[0]["lease_expires_at"]
        time.sleep(0.8)
        assert leases.all()[0]["lease_expires_at"] > max(first, time.time())
        with pytest.raises(Conflict):
            _hold(leases)


def test_an_owner_is_gone_only_when_that_surely_is_so() -> None:
    machine, host, pid, started = owner().split(":")
    assert host == socket.gethostname()
    assert not gone(owner())
    assert gone(f"{machine}:{host}:{pid}:{int(started) - 1}"), "the same process id, started at another time, is another process"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert gone(f"{machine}:{host}:{ended.pid}:{started}")
    for elsewhere in ("000000000000", host, ""):
        assert not gone(f"{elsewhere}:{host}:{ended.pid}:{started}"), "another machine, or a container, of the same name"
    assert not gone(f"{host}:{ended.pid}:1"), "an owner as an older Luthier wrote it: by time alone"
    assert not gone("")


def test_jobs_are_listed_by_run(leases: Leases) -> None:
    for job, run in (("a", "one"), ("b", "two"), ("c", "one")):
        with leases.held(job, run, "train"):
            pass
    assert {row["id"] for row in leases.all("one")} == {"a", "c"}
    assert [row["id"] for row in leases.all()] == ["c", "b", "a"]
