"""The tables: made once by whoever comes first, equal to what the migrations say, and safe to open from several processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, insert, inspect, select, text

from luthier.core.errors import Conflict, Damaged, InputError
from luthier.store import database
from luthier.store.database import NEWEST, connect, migrate, revision
from luthier.store.tables import ENDPOINTS, EVENTS, JOBS, METADATA, RUNS

MIGRATIONS = Path(database.__file__).parent / "migrations"

MEET = """
import sys, time
from luthier.store.database import NEWEST, connect, revision
from luthier.store.tables import EVENTS
from sqlalchemy import insert
print("ready", flush=True)
sys.stdin.readline()
engine = connect(sys.argv[1])
assert revision(engine) == NEWEST
with engine.begin() as connection:
    connection.execute(insert(EVENTS), {"at": 1.0, "name": "note.said", "subject": "", "body": "{}"})
"""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    yield f"sqlite:///{tmp_path / 'luthier.db'}"
    connect.cache_clear()


def test_a_new_file_gets_its_tables(url: str) -> None:
    engine = connect(url)
    assert revision(engine) == NEWEST
    assert set(METADATA.tables) <= set(inspect(engine).get_table_names())
    assert connect(url) is engine, "one engine a process"


def test_the_migrations_make_exactly_the_tables_that_the_code_uses(url: str) -> None:
    with connect(url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_a_difference_would_be_seen(url: str) -> None:
    """That the comparison above can fail."""
    engine = connect(url)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE runs ADD COLUMN colour TEXT"))
        connection.execute(text("DROP INDEX events_by_subject"))
    with engine.connect() as connection:
        assert len(compare_metadata(MigrationContext.configure(connection), METADATA)) == 2


def test_the_newest_revision_is_the_last_migration() -> None:
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert scripts.get_current_head() == NEWEST
    assert len(list((MIGRATIONS / "versions").glob("0*.py"))) == len(list(scripts.walk_revisions()))


def test_processes_that_meet_a_new_file_make_its_tables_once(url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MEET, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    with connect(url).connect() as connection:
        assert len(connection.execute(select(EVENTS)).all()) == len(processes)
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1


def test_an_upgrade_that_was_killed_goes_on(url: str) -> None:
    engine = create_engine(url)
    RUNS.create(engine)
    JOBS.create(engine)
    assert revision(engine) == ""
    migrate(engine)
    assert revision(engine) == NEWEST
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_opening_again_keeps_what_is_there(url: str) -> None:
    row = {"name": "support", "task": "t", "export": "e", "evaluation": "v", "model": "m", "deployed_at": 1.0}
    with connect(url).begin() as connection:
        connection.execute(insert(ENDPOINTS), row)
    connect.cache_clear()
    migrate(connect(url))
    with connect(url).connect() as connection:
        assert connection.execute(select(ENDPOINTS)).mappings().all() == [row | {"workspace": "default"}]


def test_readers_do_not_wait_for_a_writer(url: str) -> None:
    engine = connect(url)
    with engine.begin() as writing:
        writing.execute(insert(EVENTS), {"at": 1.0, "name": "note.said", "subject": "", "body": "{}"})
        with engine.connect() as reading:
            assert reading.execute(select(EVENTS)).all() == []
            assert reading.execute(text("PRAGMA journal_mode")).scalar() == "wal"
            assert reading.execute(text("PRAGMA busy_timeout")).scalar() == 30000


def test_the_cursor_never_goes_back_even_after_rows_were_deleted(url: str) -> None:
    """A reader that waits at ``seq`` 3 would miss an entry that took a freed number."""
    engine = connect(url)
    row = {"at": 1.0, "name": "note.said", "subject": "", "body": "{}"}
    with engine.begin() as connection:
        connection.execute(insert(EVENTS), [row] * 3)
        connection.execute(EVENTS.delete())
        connection.execute(insert(EVENTS), row)
        assert connection.execute(select(EVENTS.c.seq)).scalar() == 4


def test_an_upgrade_that_was_killed_before_the_index_makes_it(url: str) -> None:
    engine = create_engine(url)
    EVENTS.create(engine)
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX events_by_subject"))
    migrate(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


@pytest.mark.parametrize("address", ["nonsense", "", "nosuch://host/db", "sqlite+nosuch:///a.db", "postgresql://me:secret@host:port/db"])
def test_an_address_that_is_none_is_answered_with_the_setting(address: str) -> None:
    with pytest.raises(InputError, match="not the address of a database") as caught:
        connect(address)
    assert "LUTHIER_DATABASE" in caught.value.hint
    assert "secret" not in str(caught.value)


def test_a_database_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the database cannot be used: unable to open") as caught:
        connect(f"sqlite:///{tmp_path / 'none' / 'luthier.db'}")
    assert "LUTHIER_DATABASE" in caught.value.hint
    assert os.listdir(tmp_path) == []


def test_a_file_that_is_no_database_is_damaged(tmp_path: Path, url: str) -> None:
    (tmp_path / "luthier.db").write_text("not a database, by no means " * 100)
    with pytest.raises(Damaged, match=r"luthier\.db: not a whole database") as caught:
        connect(url)
    assert "LUTHIER_DATABASE" in caught.value.hint


def test_a_database_from_a_newer_version_is_left_alone(url: str) -> None:
    with connect(url).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    connect.cache_clear()
    with pytest.raises(Conflict, match="was made by a newer Luthier") as caught:
        connect(url)
    assert "upgrade Luthier" in caught.value.hint
    assert revision(create_engine(url)) == "9999"


@pytest.mark.parametrize("address", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.chdir(tmp_path)
    engine = create_engine(address)
    migrate(engine)
    assert revision(engine) == NEWEST
    assert os.listdir(tmp_path) == []


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.setitem(database.PATIENCE, "connect_timeout", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        with pytest.raises(InputError, match="the database cannot be used"):
            connect(f"postgresql+psycopg://me@127.0.0.1:{silent.getsockname()[1]}/none")
        assert time.monotonic() - start < 10
    assert database._patience("postgresql+psycopg://h/d?connect_timeout=60&keepalives_idle=1").keys() == {
        "keepalives_interval", "keepalives_count", "tcp_user_timeout",
    }  # fmt: skip
    assert database._patience("sqlite:////tmp/x.db") == {}
