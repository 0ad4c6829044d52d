"""The rows of fine-tuning jobs: claimed once, held by a lease, moved legally, listed by cursor and metadata."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from luthier.app import tunings
from luthier.app.tunings import Tunings
from luthier.core.errors import Conflict, UnknownName
from luthier.core.tuning import FINAL, MOVES, may_move
from luthier.store.database import connect
from luthier.store.tables import TUNINGS

DEAD = "this-host:1:0"


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    yield connect(f"sqlite:///{tmp_path / 'luthier.db'}")
    connect.cache_clear()


@pytest.fixture
def rows(engine: Any) -> Tunings:
    return Tunings(engine, "default")


def add(rows: Tunings, name: str, **values: Any) -> dict[str, Any]:
    return rows.add(
        {
            "id": f"ftjob-{name}",
            "workspace": "default",
            "state": "queued",
            "model": "m",
            "training_file": "file-1",
            "seed": 1,
            "metadata": {},
            "created_at": time.time(),
        }
        | values
    )


def test_a_job_is_claimed_once_and_only_its_holder_writes(rows: Tunings) -> None:
    job = add(rows, "a")
    token = rows.claim(job)
    assert token
    assert rows.claim(job) == "", "the row that was seen is not the row that is there"
    assert rows.waiting(["ftjob-a"]) == []
    assert not rows.change("ftjob-a", "another", trained_tokens=1)
    assert rows.change("ftjob-a", token, trained_tokens=5)
    assert rows.beat("ftjob-a", "another") is None
    assert rows.beat("ftjob-a", token) == ""
    assert rows.end("ftjob-a", token, "succeeded", fine_tuned_model="ft:m")
    assert not rows.end("ftjob-a", token, "failed"), "it ended already"
    assert rows.get("ftjob-a")["state"] == "succeeded"


def test_what_waits_comes_by_priority_and_age(rows: Tunings) -> None:
    for name, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5)):
        add(rows, name, priority=priority)
    assert [row["id"][-1] for row in rows.waiting()] == ["b", "d", "a", "c"]


def test_a_job_whose_owner_died_is_taken_over_and_the_dead_one_writes_no_more(rows: Tunings, engine: Any, monkeypatch: Any) -> None:
    token = rows.claim(add(rows, "a"))
    with engine.begin() as connection:
        connection.execute(update(TUNINGS).values(lease_owner=DEAD))
    assert rows.waiting() == [], "another machine's lease holds until it runs out"
    monkeypatch.setattr(tunings, "gone", lambda owner: owner == DEAD)
    (found,) = rows.waiting()
    fresh = rows.claim(found)
    assert fresh not in ("", token)
    assert rows.get("ftjob-a")["attempts"] == 1
    assert not rows.end("ftjob-a", token, "succeeded")
    assert rows.end("ftjob-a", fresh, "succeeded")


def test_a_lease_of_another_machine_runs_out(rows: Tunings, engine: Any) -> None:
    rows.claim(add(rows, "a"))
    with engine.begin() as connection:
        connection.execute(update(TUNINGS).values(lease_owner="elsewhere:7:1", lease_expires_at=time.time() - 1))
    assert [row["id"] for row in rows.waiting()] == ["ftjob-a"]


def test_a_living_owner_of_this_machine_keeps_its_job_when_the_clock_jumps(rows: Tunings, engine: Any, monkeypatch: Any) -> None:
    rows.claim(add(rows, "a"))
    now = time.time()
    monkeypatch.setattr(tunings.time, "time", lambda: now + tunings.LEASE_S + 60)
    assert rows.waiting(["ftjob-a"]) == []
    me = tunings.owner()
    monkeypatch.setattr(tunings, "owner", lambda: "x" + me)
    assert [row["id"] for row in rows.waiting()] == ["ftjob-a"], "seen from another machine the lease has run out"


def test_a_wish_reaches_the_holder(rows: Tunings) -> None:
    add(rows, "a")
    assert not rows.wish("ftjob-a", "pause"), "nobody runs it"
    token = rows.claim(rows.get("ftjob-a"))
    assert rows.wish("ftjob-a", "pause")
    assert rows.beat("ftjob-a", token, extend=False) == "pause"
    assert rows.end("ftjob-a", token, "paused")
    assert rows.get("ftjob-a")["wish"] == ""
    assert rows.move_free("ftjob-a", "queued")
    assert [row["id"] for row in rows.waiting()] == ["ftjob-a"]


def test_an_illegal_move_is_a_conflict(rows: Tunings) -> None:
    add(rows, "a")
    assert rows.move_free("ftjob-a", "cancelled")
    with pytest.raises(Conflict, match="is cancelled and cannot become queued"):
        rows.move_free("ftjob-a", "queued")
    assert all(not MOVES[state] for state in FINAL)
    assert may_move("running", "queued")


def test_an_end_is_told_once_even_when_its_worker_died(rows: Tunings) -> None:
    rows.end("ftjob-a", rows.claim(add(rows, "a")), "succeeded")
    assert [row["id"] for row in rows.untold()] == ["ftjob-a"]
    rows.told("ftjob-a")
    assert rows.untold() == []


def test_pages_and_metadata(rows: Tunings, engine: Any) -> None:
    for number in range(7):
        add(rows, str(number), metadata={"team": "a" if number % 2 else "b", "n": str(number)} if number else {})
    add(Tunings(engine, "other"), "foreign", workspace="other", metadata={"team": "a"})
    first = rows.page(3)
    assert [row["id"][-1] for row in first] == ["6", "5", "4"]
    assert [row["id"][-1] for row in rows.page(10, first[-1]["id"])] == ["3", "2", "1", "0"]
    assert [row["id"][-1] for row in rows.page(10, metadata={"team": "a"})] == ["5", "3", "1"]
    assert [row["id"][-1] for row in rows.page(10, metadata={"team": "a", "n": "3"})] == ["3"]
    assert [row["id"][-1] for row in rows.page(10, without=True)] == ["0"]
    with pytest.raises(UnknownName):
        rows.get("ftjob-foreign")
    with pytest.raises(UnknownName):
        rows.page(3, "ftjob-nothing")


def test_only_a_finished_job_is_taken_out(rows: Tunings) -> None:
    add(rows, "a", metadata={"k": "v"})
    with pytest.raises(Conflict, match="is queued"):
        rows.remove("ftjob-a")
    rows.move_free("ftjob-a", "cancelled")
    rows.remove("ftjob-a")
    assert rows.page(5) == rows.page(5, metadata={"k": "v"}) == []
