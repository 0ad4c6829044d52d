"""The upgrade to the queue's tables, with jobs in them: on SQLite and PostgreSQL, and after a kill in its middle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, insert, select, text
from sqlalchemy.exc import IntegrityError

from luthier.store.database import NEWEST, migrate, revision
from luthier.store.rollout_tables import VERSIONS
from luthier.store.tables import DEPLOYMENTS, METADATA, TUNINGS
from older import upgrade_to


@pytest.fixture(params=["sqlite", "postgres"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database at 0002 with three jobs, of which two were the same request."""
    address = f"sqlite:///{tmp_path / 'luthier.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = create_engine(address)
    upgrade_to(engine, "0002")
    texts = dict.fromkeys(("wish", "validation_file", "suffix", "fine_tuned_model", "lease_owner", "lease_token"), "")
    data = dict.fromkeys(("request", "spec", "method", "hyperparameters", "metadata", "error", "results", "needs"), "{}")
    zeros = dict.fromkeys(("trained_tokens", "attempts", "started_at", "finished_at", "estimated_finish", "lease_expires_at"), 0)
    rest = {"workspace": "default", "state": "queued", "model": "m", "training_file": "f", "seed": 1, "created_at": 5.0}
    rest |= texts | data | zeros | {"integrations": "[]", "result_files": "[]"}
    names = ["id", "idempotency", "priority", *rest]
    query = text(f"INSERT INTO fine_tuning_jobs ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})")
    rows = [("a", "same", 0), ("b", "same", 7), ("c", "", -3)]
    with engine.begin() as connection:
        connection.execute(query, [rest | {"id": name, "idempotency": mark, "priority": rank} for name, mark, rank in rows])
        deployment = "INSERT INTO deployments VALUES ('default', 'support', 'ft:m', 'succeeded', '{}', '{}', '{}', 1.0, '', '', 0.0)"
        connection.execute(text(deployment))
        endpoint = "INSERT INTO endpoints (workspace, name, task, export, evaluation, model, deployed_at)"
        connection.execute(text(endpoint + " VALUES ('default', 'support', 't', 'export-1', 'v', 'm', 7.0)"))
    yield engine
    engine.dispose()


def _rows(engine: Engine) -> list[Any]:
    columns = (TUNINGS.c.id, TUNINGS.c.idempotency, TUNINGS.c.fingerprint, TUNINGS.c.turn, TUNINGS.c.card)
    with engine.connect() as connection:
        assert connection.execute(select(DEPLOYMENTS.c.needs, DEPLOYMENTS.c.card)).all() == [({}, "")]
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), METADATA) == []
        return [tuple(row) for row in connection.execute(select(*columns).order_by(TUNINGS.c.seq))]


def test_jobs_are_kept_and_what_was_not_unique_is_the_fingerprint_now(old: Engine) -> None:
    migrate(old)
    assert revision(old) == NEWEST
    assert _rows(old) == [("a", "", "same", 0, ""), ("b", "", "same", -7, ""), ("c", "", "", 3, "")]
    job = {"workspace": "default", "state": "queued", "model": "m", "training_file": "f", "seed": 1, "priority": 4, "created_at": 1.0}
    with old.begin() as connection:
        connection.execute(insert(TUNINGS), job | {"id": "d", "idempotency": "key"})
        connection.execute(insert(TUNINGS), job | {"id": "e", "idempotency": "key", "workspace": "blue"})
        connection.execute(insert(TUNINGS), job | {"id": "f"})
    assert _rows(old)[-1] == ("f", "", "", -4, "")
    with pytest.raises(IntegrityError), old.begin() as connection:
        connection.execute(insert(TUNINGS), job | {"id": "g", "idempotency": "key"})


def test_what_is_deployed_becomes_the_first_version(old: Engine) -> None:
    """Also after a kill between the table and its rows; and only once."""
    migrate(old)
    for kill in ("", "DELETE FROM endpoint_versions"):
        with old.begin() as connection:
            if kill:
                connection.execute(text(kill))
            connection.execute(text("UPDATE alembic_version SET version_num = '0004'"))
        migrate(old)
        with old.connect() as connection:
            (row,) = connection.execute(select(VERSIONS)).all()
        said = (row.endpoint, row.number, row.export, row.state, row.traffic, row.created_at)
        assert said == ("support", 1, "export-1", "open", 100, 7.0)


def test_an_upgrade_that_was_killed_goes_on(old: Engine) -> None:
    """SQLite makes each change of a table at once."""
    migrate(old)
    with old.begin() as connection:
        for name in ("by_idempotency", "by_turn"):
            connection.execute(text(f"DROP INDEX fine_tuning_jobs_{name}"))
        connection.execute(text("DROP TABLE workers"))
        connection.execute(text("UPDATE fine_tuning_jobs SET idempotency = 'same', fingerprint = '', turn = 0 WHERE id = 'b'"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0002'"))
    migrate(old)
    assert _rows(old) == [("a", "", "same", 0, ""), ("b", "", "same", -7, ""), ("c", "", "", 3, "")]
