"""Which endpoint answers with which export: the only writer of the endpoints table."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Engine, and_, delete, insert, select

from luthier.core.errors import InputError, UnknownName
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
        return [EndpointInfo(row.name, row.task, row.export, row.evaluation, row.model, root / row.export, row.deployed_at) for row in rows]

    def get(self, name: str) -> EndpointInfo:
        """The endpoint of that name; raises ``UnknownName``."""
        found = {info.name: info for info in self.list()}
        if name not in found:
            raise UnknownName.among("endpoint", name, found)
        return found[name]

    def put(self, name: str, *, task: str, export: str, evaluation: str, model: str) -> EndpointInfo:
        """Makes the endpoint answer with another export, in one transaction."""
        check_name(name)
        row = {
            "workspace": self.workspace.name,
            "name": name,
            "task": task,
            "export": export,
            "evaluation": evaluation,
            "model": model,
            "deployed_at": time.time(),
        }
        with self.engine.begin() as connection:
            connection.execute(delete(ENDPOINTS).where(self._is(name)))
            connection.execute(insert(ENDPOINTS), [row])
        return self.get(name)

    def remove(self, name: str) -> None:
        """Takes the endpoint away; raises ``UnknownName``."""
        self.get(name)
        with self.engine.begin() as connection:
            connection.execute(delete(ENDPOINTS).where(self._is(name)))
