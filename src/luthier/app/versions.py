"""The versions of an endpoint, which share its traffic: rows written within the transaction of whoever changes something."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, delete, insert, select, update

from luthier.core.errors import Conflict, InputError, UnknownName
from luthier.core.rollout import check_traffic, version_name
from luthier.store.rollout_tables import ROLLOUTS, VERSIONS
from luthier.store.tables import DEPLOYMENTS, ENDPOINTS, TUNED_MODELS


class What(NamedTuple):
    """What a version answers with: a registered task, and ids of artifacts."""

    task: str
    export: str
    evaluation: str
    model: str


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an endpoint. ``traffic`` and ``mirror`` are percents; ``replaces``: the version before it ("": none)."""

    name: str
    what: What
    state: str
    traffic: int
    mirror: int
    replaces: str
    created_at: float
    folder: Path

    @property
    def export_id(self) -> str:
        """The export's id."""
        return self.what.export

    def as_json(self) -> dict[str, Any]:
        """For the doors."""
        own = {"name": self.name, "state": self.state, "traffic": self.traffic, "mirror": self.mirror, "replaces": self.replaces}
        return own | self.what._asdict() | {"created_at": int(self.created_at)}


class Versions:
    """The versions of one endpoint, in one transaction."""

    def __init__(self, connection: Connection, workspace: str, endpoint: str, root: Path) -> None:
        self.connection, self.workspace, self.endpoint, self.root = connection, workspace, endpoint, root
        self._mine = and_(VERSIONS.c.workspace == workspace, VERSIONS.c.endpoint == endpoint)
        self._here = and_(ENDPOINTS.c.workspace == workspace, ENDPOINTS.c.name == endpoint)

    def all(self) -> list[Version]:
        """Every version, the oldest first."""
        return [_version(row, self.root) for row in self.connection.execute(select(VERSIONS).where(self._mine).order_by(VERSIONS.c.number))]

    def get(self, name: str) -> Version:
        """One of them; raises ``UnknownName``."""
        found = {one.name: one for one in self.all()}
        if name not in found:
            raise UnknownName.among(f"version of {self.endpoint!r}", name, found)
        return found[name]

    def current(self) -> Version:
        """The version that the endpoint answers with, whatever a canary gets beside it; raises ``UnknownName``."""
        export = self.connection.execute(select(ENDPOINTS.c.export).where(self._here)).scalar()
        for one in self.all():
            if one.export_id == export:
                return one
        raise UnknownName(f"unknown endpoint {self.endpoint!r}", "luthier endpoints lists them")

    def open(self, what: What, *, mirror: int = 0) -> Version:
        """A version for an export, open and without traffic; one that is there is opened again."""
        known = next((one for one in self.all() if one.export_id == what.export), None)
        if known is not None:
            self.set(known.name, state="open", mirror=mirror)
            return self.get(known.name)
        number = max((number_of(one.name) for one in self.all()), default=0) + 1
        row = {"workspace": self.workspace, "endpoint": self.endpoint, "number": number, **what._asdict()}
        self.connection.execute(insert(VERSIONS).values(**row, state="open", traffic=0, mirror=mirror, replaces=0, created_at=time.time()))
        return self.get(version_name(number))

    def set(self, name: str, **values: Any) -> None:
        """Changes the version's row."""
        self.connection.execute(update(VERSIONS).where(self._mine, VERSIONS.c.number == number_of(name)).values(**values))

    def share(self, table: Mapping[str, int], *, retire: bool = False) -> dict[str, int]:
        """Shares the traffic so; gives the table that holds now. With ``retire`` what gets none is closed.

        The endpoint's own row follows: its version stays while it holds traffic, then the one with most of it takes its place.
        Raises ``InputError`` for shares that do not sum to 100, ``UnknownName``, and ``Conflict`` for a version that is not open.
        """
        check_traffic(table)
        known = {one.name: one for one in self.all()}
        for name, share in table.items():
            if name not in known:
                raise UnknownName.among(f"version of {self.endpoint!r}", name, known)
            if share and known[name].state != "open":
                raise Conflict(f"version {name} of {self.endpoint!r} is {known[name].state}", "luthier rollout back opens the one before")
        for name, one in known.items():
            share = table.get(name, 0)
            closing = retire and not share
            state = "retired" if closing else one.state
            self.set(name, traffic=share, state=state, mirror=0 if share or closing else one.mirror)
        self._follow()
        return {name: share for name, share in table.items() if share}

    def _follow(self) -> None:
        found = self.all()
        export = self.connection.execute(select(ENDPOINTS.c.export).where(self._here)).scalar()
        old = next((one for one in found if one.export_id == export), None)
        if old is not None and old.traffic:
            return
        new = max(found, key=lambda one: (one.traffic, -number_of(one.name)))
        row = {**new.what._asdict(), "deployed_at": time.time()}
        if not self.connection.execute(update(ENDPOINTS).where(self._here).values(**row)).rowcount:
            self.connection.execute(insert(ENDPOINTS).values(workspace=self.workspace, name=self.endpoint, **row))
        if old is not None and old.replaces != new.name:  # not when it is a way back
            self.set(new.name, replaces=number_of(old.name))
        if old is not None:
            self._rename(new)

    def _rename(self, new: Version) -> None:
        """What was asked to be deployed under this name is another model now."""
        tuned = and_(TUNED_MODELS.c.workspace == self.workspace, TUNED_MODELS.c.export == new.export_id)
        name = self.connection.execute(select(TUNED_MODELS.c.name).where(tuned)).scalar() or new.what.model
        done = and_(DEPLOYMENTS.c.workspace == self.workspace, DEPLOYMENTS.c.name == self.endpoint, DEPLOYMENTS.c.state == "succeeded")
        self.connection.execute(update(DEPLOYMENTS).where(done).values(model=name))

    def remove(self, name: str) -> Version:
        """Forgets a version; raises ``Conflict`` while it holds traffic."""
        one = self.get(name)
        if one.traffic:
            raise Conflict(
                f"version {name} of {self.endpoint!r} holds {one.traffic} % of the traffic",
                "move it first: luthier rollout traffic, promote or abort; what it had queued is answered then",
            )
        self.connection.execute(delete(VERSIONS).where(self._mine, VERSIONS.c.number == number_of(name)))
        return one

    def remove_all(self) -> None:
        """Forgets every version and rollout: the endpoint goes."""
        self.connection.execute(delete(VERSIONS).where(self._mine))
        self.connection.execute(delete(ROLLOUTS).where(ROLLOUTS.c.workspace == self.workspace, ROLLOUTS.c.endpoint == self.endpoint))

    def refuse_rollout(self) -> None:
        """Raises ``Conflict`` while a rollout of the endpoint runs."""
        running = and_(ROLLOUTS.c.workspace == self.workspace, ROLLOUTS.c.endpoint == self.endpoint, ROLLOUTS.c.state == "running")
        found = self.connection.execute(select(ROLLOUTS.c.candidate).where(running)).first()
        if found is not None:
            raise Conflict(
                f"a rollout of {self.endpoint!r} to {version_name(found.candidate)} is running",
                f"luthier rollout promote {self.endpoint}, or abort",
            )


def open_versions(connection: Connection, workspace: str, root: Path) -> dict[str, list[Version]]:
    """The open versions of every endpoint, the oldest first."""
    which = and_(VERSIONS.c.workspace == workspace, VERSIONS.c.state == "open")
    found: dict[str, list[Version]] = {}
    for row in connection.execute(select(VERSIONS).where(which).order_by(VERSIONS.c.endpoint, VERSIONS.c.number)):
        found.setdefault(row.endpoint, []).append(_version(row, root))
    return found


def number_of(name: str) -> int:
    """3 of ``v3``; raises ``InputError``."""
    if not (name.startswith("v") and name[1:].isdigit() and len(name) < 10):
        raise InputError(f"{name[:40]!r} names no version", "versions are called v1, v2 ...: luthier rollout status shows them")
    return int(name[1:])


def _version(row: Any, root: Path) -> Version:
    what = What(row.task, row.export, row.evaluation, row.model)
    replaces = version_name(row.replaces) if row.replaces else ""
    return Version(version_name(row.number), what, row.state, row.traffic, row.mirror, replaces, row.created_at, root / row.export)
