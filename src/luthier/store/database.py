"""The one database: SQLite by default, anything SQLAlchemy speaks by address; brings its tables (``store.tables``) up to date."""

from __future__ import annotations

import contextlib
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError

from luthier.core.errors import Conflict, Damaged, InputError, NoSpace
from luthier.store.locks import locked

NEWEST = "0006"
"""The revision that this version's tables have (the last file in ``migrations/versions``)."""

_MIGRATING = 0x6C757468
"""The number of PostgreSQL's advisory lock under which the tables are made."""

PATIENCE = {"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15_000}
"""A PostgreSQL whose machine is gone is noticed within seconds: left to themselves, connections would wait for minutes."""

_ADDRESS = "set LUTHIER_DATABASE to an address such as sqlite:////folder/that/is/there/luthier.db"


@cache
def connect(url: str) -> Engine:
    """The engine for an address (``sqlite:////home/me/.luthier/luthier.db``), its tables up to date.

    Raises ``InputError`` when there is no such database, ``Damaged`` when the file is none, ``Conflict`` when it is too new.
    """
    shown = re.sub(r":[^:/@]*@", ":***@", url)
    try:
        engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"), connect_args=_patience(url))
    except (ArgumentError, ImportError, ValueError) as error:
        raise InputError(f"{shown}: not the address of a database: {str(error).replace(url, shown)}", _ADDRESS) from None
    if url.startswith("sqlite"):
        event.listen(engine, "connect", _sqlite_settings)
        event.listen(engine, "handle_error", _no_space)
    try:
        migrate(engine)
    except DatabaseError as error:
        if type(error) is DatabaseError:  # what SQLite says of a file that is none of its own, or a torn one
            raise Damaged(f"{shown}: not a whole database: {error.orig}", f"move the file away and start again, or {_ADDRESS}") from None
        raise InputError(f"{shown}: the database cannot be used: {error.orig}", _ADDRESS) from None
    return engine


def _patience(url: str) -> dict[str, int]:
    """``PATIENCE``, as far as it is libpq's to keep and the address does not say otherwise."""
    asked = make_url(url)
    known = asked.get_backend_name() == "postgresql" and asked.get_driver_name().startswith("psycopg")
    return {name: value for name, value in PATIENCE.items() if known and name not in asked.query}


def _sqlite_settings(connection: Any, _record: Any) -> None:
    """Write-ahead log: readers never wait; a commit survives a killed process (NORMAL), busy writers wait 30 s."""
    cursor = connection.cursor()
    for setting in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _no_space(context: Any) -> None:
    """A full disk is ``NoSpace`` here too; SQLite's own word for it is an ``OperationalError``."""
    said = str(context.original_exception)
    if "disk is full" in said or "disk I/O error" in said:
        hint = "free some space and start the same command again: finished work is kept"
        raise NoSpace(f"the workspace's database: {said}", hint) from context.original_exception


def revision(engine: Engine) -> str:
    """The revision that the database is at ("" for an empty one)."""
    if not inspect(engine).has_table("alembic_version"):
        return ""
    with engine.connect() as connection:
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")


def migrate(engine: Engine) -> None:
    """Brings the tables to ``NEWEST``; costs one look-up when they are there already. Raises ``Conflict`` when they are newer."""
    found = revision(engine)
    if found == NEWEST:
        return
    if found > NEWEST:
        raise Conflict(
            f"{engine.url}: the database was made by a newer Luthier (its tables are at {found}, this one knows {NEWEST})",
            "upgrade Luthier: pip install --upgrade luthier",
        )
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with _one_at_a_time(engine), engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # several servers that meet an empty database; held until the transaction ends
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATING})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def alone(connection: Connection, name: str) -> None:
    """Until the transaction ends nobody else is in one that said the same name. To be said before anything is read that must not change:
    what is checked and what is written then belong together, also for several servers."""
    if connection.dialect.name == "postgresql":
        number = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})
    elif connection.dialect.name == "sqlite" and not getattr(connection.connection.dbapi_connection, "in_transaction", False):
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # SQLite's one lock for writers, taken before the first look


def _one_at_a_time(engine: Engine) -> contextlib.AbstractContextManager[None]:
    """Two processes that meet a new SQLite file must not both make its tables; PostgreSQL has a lock of its own for that."""
    file = engine.url.database or ":memory:"
    if engine.dialect.name != "sqlite" or ":memory:" in file:
        return contextlib.nullcontext()
    return locked(Path(file + ".migrating"), wait_s=60, what="the database's tables")
