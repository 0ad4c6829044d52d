"""Which endpoint answers with which export, and by which versions: the only writer of their tables."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Engine, and_, delete, select

from luthier.app.versions import Version, Versions, What, open_versions
from luthier.core.errors import InputError, UnknownName
from luthier.store.database import alone
from luthier.store.tables import ENDPOINTS
from luthier.store.workspace import Workspace

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


def check_name(name: str) -> None:
    """Raises ``InputError`` when an endpoint cannot be called so."""
    if not NAME.fullmatch(name):
        raise InputError(f"{name!r} cannot name an endpoint", "use letters, digits, '-' and '_', at most 40")


@dataclass(frozen=True, slots=True)
class EndpointInfo:
    """An endpoint and what it answers with."""

    name: str
    task: str
    export_id: str
    evaluation_id: str
    model_id: str
    folder: Path
    deployed_at: float
    versions: tuple[Version, ...] = ()
    """Those that are open, the oldest first."""


class Endpoints:
    """The endpoints of a workspace."""

    def __init__(self, engine: Engine, workspace: Workspace) -> None:
        self.engine = engine
        self.workspace = workspace

    def _is(self, name: str) -> ColumnElement[bool]:
        return and_(ENDPOINTS.c.workspace == self.workspace.name, ENDPOINTS.c.name == name)

    def list(self) -> list[EndpointInfo]:
        """All endpoints by name."""
        with self.engine.connect() as connection:
            rows = connection.execute(
                select(ENDPOINTS).where(ENDPOINTS.c.workspace == self.workspace.name).order_by(ENDPOINTS.c.name)
            ).all()
            root = self.workspace.artifacts.root
            versions = open_versions(connection, self.workspace.name, root)
        return [
            EndpointInfo(
                row.name,
                row.task,
                row.export,
                row.evaluation,
                row.model,
                root / row.export,
                row.deployed_at,
                tuple(versions.get(row.name, ())),
            )
            for row in rows
        ]

    def get(self, name: str) -> EndpointInfo:
        """The endpoint of that name; raises ``UnknownName``."""
        found = {info.name: info for info in self.list()}
        if name not in found:
            raise UnknownName.among("endpoint", name, found)
        return found[name]

    def put(self, name: str, *, task: str, export: str, evaluation: str, model: str) -> EndpointInfo:
        """Makes the endpoint answer with another export, in one transaction; raises ``Conflict`` while a rollout runs."""
        check_name(name)
        with self.changing(name) as versions:
            versions.refuse_rollout()
            new = versions.open(What(task, export, evaluation, model))
            versions.share({new.name: 100}, retire=True)
        return self.get(name)

    @contextlib.contextmanager
    def changing(self, name: str) -> Iterator[Versions]:
        """The versions of an endpoint, to be read and changed in one transaction by nobody else meanwhile."""
        with self.engine.begin() as connection:
            alone(connection, f"endpoint {self.workspace.name} {name}")
            yield Versions(connection, self.workspace.name, name, self.workspace.artifacts.root)

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[Versions]:
        """The versions of an endpoint, to be looked at only."""
        with self.engine.connect() as connection:
            yield Versions(connection, self.workspace.name, name, self.workspace.artifacts.root)

    def remove(self, name: str) -> None:
        """Takes the endpoint away, with its versions; raises ``UnknownName``, and ``Conflict`` while a rollout runs."""
        self.get(name)
        with self.changing(name) as versions:
            versions.refuse_rollout()
            versions.remove_all()
            versions.connection.execute(delete(ENDPOINTS).where(self._is(name)))
