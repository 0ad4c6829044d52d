"""The state on PostgreSQL: tables, journal, leases and the claims of fine-tuning jobs hold there as they do on SQLite.

Skipped with the reason where PostgreSQL is not installed (``tests/postgres.py``).
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, select, text, update

from luthier.app import leases as leases_module
from luthier.app.leases import Leases
from luthier.app.tunings import Tunings
from luthier.core.errors import Conflict, InputError, UnknownName
from luthier.core.events import NoteSaid, TuningSaid
from luthier.store.database import NEWEST, connect, migrate, revision
from luthier.store.journal import Journal
from luthier.store.tables import EVENTS, METADATA, TUNING_METADATA, TUNINGS
from older import upgrade_to

ELSEWHERE = "another-machine:1:1"
"""An owner on a machine that nobody here can look at."""

MEET = """
import sys
from luthier.store.database import NEWEST, connect, revision
print("ready", flush=True)
sys.stdin.readline()
assert revision(connect(sys.argv[1])) == NEWEST
"""


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    made = connect(postgres_url)
    yield made
    made.dispose()
    connect.cache_clear()


@pytest.fixture
def queued(engine: Engine) -> Callable[..., str]:
    """Writes a queued fine-tuning job; its id."""
    tunings = Tunings(engine, "default")

    def make(number: int = 0, **given: Any) -> str:
        row = {
            "id": f"ftjob-{number:024d}",
            "workspace": "default",
            "state": "queued",
            "model": "tiny",
            "training_file": "file-1",
            "seed": 7,
            "created_at": time.time(),
            "metadata": {},
        }
        return str(tunings.add(row | given)["id"])

    return make


# -- tables -----------------------------------------------------------------------------------------------------------


def test_an_empty_database_gets_exactly_the_tables_that_the_code_uses(engine: Engine) -> None:
    assert revision(engine) == NEWEST
    assert set(METADATA.tables) <= set(inspect(engine).get_table_names())
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_an_address_without_a_driver_s_name_works(postgres_url: str) -> None:
    """What people have in their environment: postgresql://..."""
    plain = postgres_url.replace("+psycopg", "")
    assert revision(connect(plain)) == NEWEST
    connect(plain).dispose()
    connect.cache_clear()


def test_servers_that_meet_an_empty_database_make_its_tables_once(postgres_url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MEET, postgres_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), [words[-800:] for words in said if words]


def test_an_older_database_is_brought_up_with_what_it_holds(postgres_url: str) -> None:
    engine = create_engine(postgres_url)
    upgrade_to(engine, "0001")
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO events (at, name, subject, body) VALUES (1.0, 'note.said', 'x', '{}')"))
    migrate(engine)
    assert revision(engine) == NEWEST
    with engine.connect() as connection:
        assert connection.execute(select(EVENTS.c.workspace, EVENTS.c.subject)).all() == [("default", "x")]
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


def test_a_database_that_is_not_there_is_said_with_the_setting(postgres_url: str) -> None:
    with pytest.raises(InputError, match="cannot be used") as caught:
        connect(postgres_url.replace("/test_", "/nosuch_"))
    assert "LUTHIER_DATABASE" in caught.value.hint


def test_a_server_that_goes_away_and_comes_back_is_used_again(postgres: Any, postgres_url: str) -> None:
    engine = connect(postgres_url)
    journal = Journal(engine)
    journal.append([NoteSaid(text="before")])
    postgres.stop("immediate")
    with pytest.raises(Exception, match=r"connect|closed|terminat"):
        journal.append([NoteSaid(text="meanwhile")])
    postgres.start()
    journal.append([NoteSaid(text="after")])
    assert [entry.body["text"] for entry in journal.read()] == ["before", "after"]
    engine.dispose()
    connect.cache_clear()


# -- journal ----------------------------------------------------------------------------------------------------------


def test_the_journal_gives_back_what_it_took_in_order(engine: Engine) -> None:
    journal, other = Journal(engine), Journal(engine, "other")
    journal.append([NoteSaid(text=f"{number} äöü 🎻", data={"n": number}) for number in range(5)], about="run")
    other.append([NoteSaid(text="not yours")])
    found = journal.read()
    assert [entry.body["data"]["n"] for entry in found] == list(range(5))
    assert found[0].body["text"] == "0 äöü 🎻"
    assert [entry.seq for entry in journal.read(after=found[2].seq)] == [entry.seq for entry in found[3:]]
    assert [entry.seq for entry in journal.last(2, about="run")] == [entry.seq for entry in found[3:]]
    assert [entry.body["text"] for entry in other.read()] == ["not yours"]


def test_many_writers_at_once_lose_nothing(engine: Engine) -> None:
    journal = Journal(engine)

    def write(writer: int) -> None:
        for number in range(25):
            journal.append([TuningSaid(job=f"ftjob-{writer}", message=str(number))])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    for writer in range(8):
        assert [entry.body["message"] for entry in journal.all(about=f"ftjob-{writer}")] == [str(number) for number in range(25)]


# -- leases -----------------------------------------------------------------------------------------------------------


def test_a_held_job_is_refused_to_others_and_free_afterwards(engine: Engine) -> None:
    first, second = Leases(engine), Leases(engine)
    with first.held("job", "run", "train") as token:
        with pytest.raises(Conflict, match="is being done by"), second.held("job", "run", "train"):
            pass
        assert first.move("job", token, "running") == "queued"
    with second.held("job", "run", "train"):
        pass


def test_a_dead_owner_s_lease_is_taken_and_the_dead_cannot_move_it(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    leases = Leases(engine)
    with leases.held("job", "run", "train") as token:
        monkeypatch.setattr(leases_module, "gone", lambda _name: True)
        with Leases(engine).held("job", "run", "train"), pytest.raises(Conflict, match="taken over"):
            leases.move("job", token, "running")


def test_of_many_that_take_one_lease_one_gets_it(engine: Engine) -> None:
    start, held, refused = threading.Barrier(6), [], []

    def take(_number: int) -> None:
        start.wait()
        try:
            with Leases(engine).held("job", "run", "train"):
                held.append(1)
                time.sleep(0.5)
        except Conflict:
            refused.append(1)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(take, range(6)))
    assert (len(held), len(refused)) == (1, 5)


# -- fine-tuning jobs -------------------------------------------------------------------------------------------------


def test_a_job_comes_back_as_it_was_written(engine: Engine, queued: Callable[..., str]) -> None:
    tunings = Tunings(engine, "default")
    job = queued(1, metadata={"team": "a"}, request={"model": "tiny", "n": [1, {"deep": "é"}]}, trained_tokens=2**40)
    row = tunings.get(job)
    assert row["request"] == {"model": "tiny", "n": [1, {"deep": "é"}]}
    assert row["trained_tokens"] == 2**40
    with pytest.raises(UnknownName):
        Tunings(engine, "other").get(job)


def test_jobs_are_listed_newest_first_by_page_and_by_metadata(engine: Engine, queued: Callable[..., str]) -> None:
    made = [queued(number, metadata={"team": "ab"[number % 2], "all": "yes"} if number else {}) for number in range(5)]
    tunings = Tunings(engine, "default")
    assert [row["id"] for row in tunings.page(2)] == [made[4], made[3]]
    assert [row["id"] for row in tunings.page(9, made[3])] == [made[2], made[1], made[0]]
    assert [row["id"] for row in tunings.page(9, metadata={"team": "b", "all": "yes"})] == [made[3], made[1]]
    assert [row["id"] for row in tunings.page(9, without=True)] == [made[0]]


def test_each_job_is_claimed_once_however_many_workers_look(engine: Engine, queued: Callable[..., str]) -> None:
    made = [queued(number) for number in range(20)]
    start = threading.Barrier(6)

    def work(_number: int) -> list[str]:
        tunings = Tunings(engine)
        seen = tunings.waiting()
        start.wait()
        return [row["id"] for row in seen if tunings.claim(row)]

    with ThreadPoolExecutor(6) as pool:
        claimed = [job for jobs in pool.map(work, range(6)) for job in jobs]
    assert sorted(claimed) == made


def test_priority_goes_before_age(engine: Engine, queued: Callable[..., str]) -> None:
    old, urgent, young = queued(0), queued(1, priority=5), queued(2)
    assert [row["id"] for row in Tunings(engine).waiting()] == [urgent, old, young]


def test_a_job_whose_worker_died_elsewhere_is_taken_over_and_the_dead_one_cannot_end_it(engine: Engine, queued: Callable[..., str]) -> None:
    job = queued()
    tunings = Tunings(engine)
    dead = tunings.claim(tunings.waiting()[0])
    assert tunings.waiting([job]) == [], "this process works on it"
    with engine.begin() as connection:
        lost = update(TUNINGS).where(TUNINGS.c.id == job).values(lease_owner=ELSEWHERE, lease_expires_at=time.time() - 1)
        connection.execute(lost)
    token = tunings.claim(tunings.waiting()[0])
    assert token
    assert token != dead
    assert tunings.get(job)["attempts"] == 1
    assert not tunings.end(job, dead, "succeeded")
    assert tunings.end(job, token, "succeeded", fine_tuned_model="ft:tiny")
    assert tunings.get(job)["state"] == "succeeded"


def test_a_wish_reaches_the_worker_by_its_heartbeat(engine: Engine, queued: Callable[..., str]) -> None:
    job = queued()
    tunings = Tunings(engine, "default")
    token = tunings.claim(tunings.waiting()[0])
    assert tunings.beat(job, token) == ""
    assert tunings.wish(job, "cancel")
    assert tunings.beat(job, token) == "cancel"
    assert tunings.beat(job, "another") is None


def test_a_finished_job_goes_with_its_metadata(engine: Engine, queued: Callable[..., str]) -> None:
    job = queued(metadata={"team": "a"})
    tunings = Tunings(engine, "default")
    with pytest.raises(Conflict):
        tunings.remove(job)
    assert tunings.move_free(job, "cancelled")
    tunings.remove(job)
    with engine.connect() as connection:
        assert connection.execute(select(TUNING_METADATA)).all() == []
