"""The queue on SQLite and PostgreSQL: whose turn it is, that none is starved, and that limits hold when many workers take at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, update

from luthier.app import queue, turns, workers
from luthier.app.capacity import Capacity
from luthier.app.leases import owner
from luthier.app.tunings import Tunings
from luthier.app.turns import Turns
from luthier.app.workspaces import Workspaces
from luthier.store.database import connect
from luthier.store.tables import FILES, TUNINGS, WORKERS

GIB = 2**30


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    address = f"sqlite:///{tmp_path / 'luthier.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    made = connect(address)
    yield made
    made.dispose()
    connect.cache_clear()


@pytest.fixture
def add(engine: Engine) -> Callable[..., str]:
    """Writes a queued job; its id."""
    made: list[str] = []

    def make(workspace: str = "default", *, gib: float = 0, threads: int = 1, **given: Any) -> str:
        row = {"id": f"ftjob-{len(made)}", "workspace": workspace, "state": "queued", "model": "m", "training_file": "f", "seed": 1}
        row |= {"metadata": {}, "needs": {"threads": threads, "memory_bytes": gib * GIB}, "created_at": time.time()}
        made.append(Tunings(engine, workspace).add(row | given)["id"])
        return made[-1]

    return make


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that ``Turns`` sees."""
    now = [1000.0]
    monkeypatch.setattr(turns.time, "monotonic", lambda: now[0])
    return now


def machine(engine: Engine, cores: int = 4, gib: float = 16, cards: tuple[str, ...] = (), jobs: int = 0) -> Turns:
    capacity = Capacity(jobs)
    capacity.cores, capacity.memory_bytes, capacity.cards = cores, gib * GIB, cards
    return Turns(engine, capacity)


def take(turn: Turns, active: dict[str, str], **options: Any) -> list[str]:
    """What it takes now; ``active`` gets the tokens."""
    found = turn.take(active, **options)
    active |= {row["id"]: token for row, token in found}
    return [row["id"] for row, _ in found]


def end(engine: Engine, active: dict[str, str], job: str) -> None:
    assert Tunings(engine).end(job, active.pop(job), "succeeded")


# -- fairness ---------------------------------------------------------------------------------------------------------


def test_a_workspace_at_its_limit_hides_nobody(engine: Engine, add: Callable[..., str]) -> None:
    """However many of its jobs come first, and however high they are."""
    Workspaces(engine).create("greedy", {"jobs_running": 1})
    many = [add("greedy", priority=10) for _ in range(130)]
    other = add("modest")
    turn, active = machine(engine, cores=8), {}
    assert take(turn, active) == [many[0], other]
    assert take(turn, active) == []
    end(engine, active, many[0])
    assert take(turn, active) == [many[1]]


def test_among_equals_who_has_fewer_running_is_next(engine: Engine, add: Callable[..., str]) -> None:
    many = [add("a") for _ in range(4)]
    late = [add("b"), add("b"), add("c")]
    turn, active = machine(engine, cores=4), {}
    assert take(turn, active) == [many[0], late[0], late[2], many[1]]
    end(engine, active, late[0])
    assert take(turn, active) == [late[1]], "b has none that runs now"
    urgent = add("a", priority=1)
    end(engine, active, late[1])
    assert take(turn, active) == [urgent], "priority goes first"


def test_what_is_tried_later_keeps_no_place_in_front(engine: Engine, add: Callable[..., str]) -> None:
    waiting = [add() for _ in range(120)]
    last = add()
    turn, active = machine(engine, jobs=1), {}
    assert take(turn, active, later=set(waiting)) == [last]


def test_every_workspace_is_seen(engine: Engine, add: Callable[..., str]) -> None:
    names = [f"w{number:03d}" for number in range(60)]
    for name in names:
        for _ in range(3):
            add(name)
    found = [row["workspace"] for row in queue.Line(engine)]
    assert len(found) == 180
    assert sorted(set(found)) == names
    assert list(queue.Line(engine, without=[f"ftjob-{number}" for number in range(180)])) == []
    line = queue.Line(engine)
    line.deeper = False
    assert sorted(row["workspace"] for row in line) == names


# -- large and small --------------------------------------------------------------------------------------------------


def test_a_large_job_is_passed_over_for_a_while_and_then_gets_its_turn(engine: Engine, add: Callable[..., str], clock: list[float]) -> None:
    first, large = add(), add(threads=4)
    small = [add() for _ in range(6)]
    turn, active = machine(engine, cores=4), {}
    assert take(turn, active) == [first, *small[:3]], "small ones behind it fit"
    clock[0] += turns.PASSED_S - 1
    end(engine, active, first)
    assert take(turn, active) == [small[3]]
    clock[0] += 2
    for job in (small[0], small[1], small[2]):
        end(engine, active, job)
        assert take(turn, active) == [], "nothing behind it starts any more"
    end(engine, active, small[3])
    assert take(turn, active) == [large]
    end(engine, active, large)
    assert take(turn, active) == small[4:]


def test_while_one_waits_for_room_urgent_jobs_and_workspaces_with_fewer_go_on(
    engine: Engine, add: Callable[..., str], clock: list[float]
) -> None:
    first, large = add("a"), add("a", threads=4)
    small = [add("a"), add("a")]
    turn, active = machine(engine, cores=4), {}
    assert take(turn, active) == [first, *small]
    clock[0] += turns.PASSED_S
    late, urgent, modest = add("a"), add("a", priority=1), add("b")
    end(engine, active, small[0])
    assert take(turn, active) == [urgent, modest]
    second, third = add("b"), add("b")
    end(engine, active, first)
    assert take(turn, active) == [second], "a has two that run, b one"
    for job in (small[1], urgent, modest, second):
        end(engine, active, job)
        assert take(turn, active) == ([large] if job == second else []), "a has no more than b now, and waited longer"
    end(engine, active, large)
    assert take(turn, active) == [late, third]


def test_what_was_passed_over_by_nobody_reserves_nothing(engine: Engine, add: Callable[..., str], clock: list[float]) -> None:
    first, _ = add(threads=4), add(threads=4)
    turn, active = machine(engine, cores=4), {}
    assert take(turn, active) == [first]
    clock[0] += 10 * turns.PASSED_S
    assert take(turn, active) == []
    assert turn._passed == {}


def test_what_only_another_machine_has_memory_for_is_left_to_it(engine: Engine, add: Callable[..., str], clock: list[float]) -> None:
    large, small = add(gib=64), add()
    turn, active = machine(engine, jobs=1), {}
    with engine.begin() as connection:
        connection.execute(insert(WORKERS).values(machine="elsewhere", memory_bytes=100 * GIB, seen_at=time.time()))
    assert take(turn, active) == [small]
    clock[0] += 10 * turns.PASSED_S
    end(engine, active, small)
    assert take(turn, active) == []
    with engine.begin() as connection:
        connection.execute(update(WORKERS).values(seen_at=time.time() - workers.KNOWN_S - 1))
    assert take(turn, active) == [large], "there is nobody else any more: alone it may try"


def test_workers_are_known_by_what_they_say(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "memory_bytes", lambda: 7.0)
    assert workers.largest(engine) == 7.0, "this machine, where none is known"
    workers.tell(engine, 100.0)
    workers.tell(engine, 50.0)
    assert workers.largest(engine) == 50.0
    with engine.begin() as connection:
        connection.execute(insert(WORKERS).values(machine="elsewhere", memory_bytes=80, seen_at=time.time()))
    assert workers.largest(engine) == 80.0


# -- cards ------------------------------------------------------------------------------------------------------------


def test_two_workers_of_a_machine_give_two_jobs_two_cards(engine: Engine, add: Callable[..., str]) -> None:
    made = [add(threads=8) for _ in range(4)]
    start, both = threading.Barrier(2), [machine(engine, cards=("0", "1")) for _ in range(2)]

    def work(turn: Turns) -> list[str]:
        start.wait()
        return [row["id"] for row, _ in turn.take(made)]

    with ThreadPoolExecutor(2) as pool:
        found = [job for jobs in pool.map(work, both) for job in jobs]
    assert len(found) == 2
    assert {Tunings(engine).get(job)["card"] for job in found} == {"0", "1"}
    back = found[0]
    token, card = Tunings(engine).get(back)["lease_token"], Tunings(engine).get(back)["card"]
    assert Tunings(engine).end(back, token, "succeeded")
    ((third, _),) = both[0].take(made)
    assert third["card"] == card


def test_a_job_of_another_machine_has_a_card_there(engine: Engine, add: Callable[..., str]) -> None:
    far, near = add(), add()
    turn, active = machine(engine, cards=("0",)), {}
    assert take(turn, active) == [far]
    with engine.begin() as connection:
        connection.execute(update(TUNINGS).where(TUNINGS.c.id == far).values(lease_owner=f"elsewhere{owner()[9:]}"))
    assert take(turn, active) == [near]
    assert Tunings(engine).get(near)["card"] == "0"


# -- limits -----------------------------------------------------------------------------------------------------------


def taken_at_once(engine: Engine, made: list[str], cores: int) -> list[str]:
    """What five workers of one machine take, all in the same moment."""
    start = threading.Barrier(5)

    def work(_number: int) -> list[str]:
        turn = machine(engine, cores=cores)
        start.wait()
        return [row["id"] for row, _ in turn.take(made)]

    with ThreadPoolExecutor(5) as pool:
        return [job for jobs in pool.map(work, range(5)) for job in jobs]


def test_the_limit_of_running_jobs_holds_when_many_workers_take_at_once(engine: Engine, add: Callable[..., str]) -> None:
    Workspaces(engine).create("blue", {"jobs_running": 2})
    found = taken_at_once(engine, [add("blue") for _ in range(12)], cores=100)
    assert len(found) == len(set(found)) == 2


def test_workers_of_one_machine_do_not_take_more_than_it_carries(engine: Engine, add: Callable[..., str]) -> None:
    found = taken_at_once(engine, [add() for _ in range(12)], cores=3)
    assert len(found) == len(set(found)) == 3


def test_a_job_whose_worker_died_is_taken_over_though_its_workspace_has_its_most(engine: Engine, add: Callable[..., str]) -> None:
    Workspaces(engine).create("blue", {"jobs_running": 1})
    job, _ = add("blue", threads=4), add("blue")
    turn, active = machine(engine, cores=4), {}
    assert take(turn, active) == [job]
    assert take(turn, {}) == [job], "this process dropped it; it does not stand in its own way"
    assert Tunings(engine).get(job)["attempts"] == 1


# -- files ------------------------------------------------------------------------------------------------------------


def test_jobs_whose_files_are_not_checked_yet_hide_none_that_may_go_on(engine: Engine, add: Callable[..., str]) -> None:
    file = {"workspace": "default", "filename": "a.jsonl", "purpose": "fine-tune"}
    with engine.begin() as connection:
        connection.execute(insert(FILES), file | {"id": "file-slow", "status": "uploaded"})
        connection.execute(insert(FILES), file | {"id": "file-done", "status": "processed"})
    for number in range(130):
        add(state="validating_files", training_file="file-slow" if number % 2 else "file-done", validation_file="file-slow")
    ready = [add(state="validating_files", training_file="file-done") for _ in range(120)]
    assert [row["id"] for row in Tunings(engine).unchecked()] == ready
    assert not Tunings(engine).idle()
