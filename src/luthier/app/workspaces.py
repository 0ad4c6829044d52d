"""The workspaces of one database and what each is allowed; ``default`` is there without having been made."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from luthier.core.errors import Conflict, InputError, UnknownName
from luthier.store.tables import WORKSPACES
from luthier.store.workspace import DEFAULT, check_name

COUNTS = ("storage_bytes", "jobs_running", "jobs_queued")
"""Whole numbers; 0: without limit."""

SWITCHES = ("mask_files", "webhook_private")
SETTINGS = (*COUNTS, *SWITCHES)
LARGEST = 2**53 - 1
"""The largest whole number that every reader of JSON keeps exactly."""


@dataclass(frozen=True, slots=True)
class WorkspaceInfo:
    """A workspace; every setting has a value. ``created_at``: seconds since 1970, 0 for one that was never made or set."""

    name: str
    created_at: float
    settings: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """What the command line and the server show."""
        return {"id": self.name, "object": "workspace", "created_at": int(self.created_at), "settings": dict(self.settings)}


def check_settings(given: Mapping[str, Any]) -> None:
    """Raises ``InputError`` for a setting that does not exist, or a value that it cannot have."""
    for name, value in given.items():
        if name not in SETTINGS:
            raise InputError(f"settings.{name[:100]}: there is no such setting", f"known: {', '.join(SETTINGS)}")
        if name in SWITCHES and not isinstance(value, bool):
            raise InputError(f"settings.{name}: is {str(value)[:100]!r}, not true or false", "give true or false")
        if name in COUNTS and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST):
            raise InputError(f"settings.{name}: {str(value)[:100]!r} is not a whole number from 0 to {LARGEST}", "0 is without limit")


def _filled(given: Any) -> dict[str, Any]:
    """Every setting: what was set, else 0 or false."""
    said = given if isinstance(given, Mapping) else {}
    return {name: said.get(name, False if name in SWITCHES else 0) for name in SETTINGS}


def _info(row: Row[Any]) -> WorkspaceInfo:
    return WorkspaceInfo(row.name, row.created_at, _filled(row.settings))


class Workspaces:
    """Every workspace of a database: the only writer of their table."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def names(self) -> list[str]:
        """Every workspace's name, ``default`` first."""
        with self.engine.connect() as connection:
            made = connection.execute(select(WORKSPACES.c.name).order_by(WORKSPACES.c.name)).scalars().all()
        return [DEFAULT, *(name for name in made if name != DEFAULT)]

    def list(self) -> list[WorkspaceInfo]:
        """Every workspace, ``default`` first, then by name."""
        with self.engine.connect() as connection:
            rows = connection.execute(select(WORKSPACES).order_by(WORKSPACES.c.name)).all()
        made = {row.name: _info(row) for row in rows}
        return [made.pop(DEFAULT, WorkspaceInfo(DEFAULT, 0.0, _filled({}))), *made.values()]

    def get(self, name: str) -> WorkspaceInfo:
        """One workspace; raises ``UnknownName``."""
        row = self._row(name)
        if row is None and name != DEFAULT:
            raise UnknownName(f"there is no workspace {name[:100]!r}", "luthier workspaces list; luthier workspaces create NAME")
        return WorkspaceInfo(DEFAULT, 0.0, _filled({})) if row is None else _info(row)

    def _row(self, name: str) -> Row[Any] | None:
        try:
            check_name(name)
        except InputError:
            return None
        with self.engine.connect() as connection:
            return connection.execute(select(WORKSPACES).where(WORKSPACES.c.name == name)).first()

    def settings(self, name: str) -> Mapping[str, Any]:
        """What is set for a workspace, every setting with a value; all 0 and false for one that was never made."""
        row = self._row(name)
        return _filled(row.settings if row is not None else {})

    def create(self, name: str, settings: Mapping[str, Any] | None = None) -> WorkspaceInfo:
        """A new workspace; raises ``InputError`` for a name or setting that cannot be, ``Conflict`` when it is there already."""
        check_name(name)
        check_settings(settings or {})
        if name == DEFAULT or not self._insert(name, settings or {}):
            raise Conflict(f"there is a workspace {name!r} already", "choose another name, or change its settings: luthier workspaces set")
        return self.get(name)

    def set(self, name: str, settings: Mapping[str, Any]) -> WorkspaceInfo:
        """Changes the settings that are given; raises ``InputError``, ``UnknownName``."""
        check_settings(settings)
        self.get(name)
        if self._row(name) is None:
            self._insert(name, {})  # ``default``, which nobody made; somebody else may do the same now
        with self.engine.begin() as connection:
            # Locked, so that two who change different settings do not undo each other.
            query = select(WORKSPACES.c.settings).where(WORKSPACES.c.name == name).with_for_update()
            if connection.dialect.name == "sqlite":  # which knows no FOR UPDATE: a write takes its one lock
                connection.execute(update(WORKSPACES).where(WORKSPACES.c.name == name).values(name=name))
            before = connection.execute(query).scalar() or {}
            connection.execute(update(WORKSPACES).where(WORKSPACES.c.name == name).values(settings={**before, **settings}))
        return self.get(name)

    def _insert(self, name: str, settings: Mapping[str, Any]) -> bool:
        """Whether it was not there yet."""
        try:
            with self.engine.begin() as connection:
                connection.execute(insert(WORKSPACES), [{"name": name, "created_at": time.time(), "settings": dict(settings)}])
        except IntegrityError:
            return False
        return True
