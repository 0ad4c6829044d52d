"""The queue: jobs of every workspace in the order of their turn, so that none with many jobs keeps the others waiting.

Higher priority first; among equals the workspace of which fewer run; then age. The order changes with every job that starts. A workspace
that may run no more of them is passed by, however many it has. What is read is bounded, and by indexes: 100,000 jobs may wait.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter, deque
from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Select, and_, func, or_, select, tuple_

from luthier.store.tables import TUNINGS, WORKSPACES

LOOKED_AT = 200
"""Jobs that are looked at in all, at a time; of each workspace first one, then so many."""

EACH = 20

_LEASE = ("lease_owner", "lease_token", "lease_expires_at")
SEEN = tuple(TUNINGS.c[name] for name in ("seq", "id", "workspace", "state", "priority", "needs", "attempts", "started_at", *_LEASE))
"""What a worker reads of a job to decide whether to take it."""


class Line:
    """Jobs that wait. Iterating gives them by turn; ``started`` says that one was taken, and changes whose turn is next.

    ``deeper``: whether further jobs of a workspace are looked at when its first one was, which costs a query.
    """

    def __init__(self, engine: Engine, without: Collection[str] = ()) -> None:
        """``without``: what is to be tried later."""
        self.engine, self.without, self.deeper = engine, without, True
        self._heads: list[tuple[tuple[int, int, int], dict[str, Any]]] = []
        self._behind: dict[str, deque[dict[str, Any]]] = {}
        with engine.connect() as connection:
            heads = [int(seq) for seq in connection.execute(_heads(without)).scalars()]
            if not heads:
                return
            counted = select(TUNINGS.c.workspace, func.count()).where(TUNINGS.c.state == "running").group_by(TUNINGS.c.workspace)
            self._running = Counter({workspace: int(count) for workspace, count in connection.execute(counted)})
            self._most = limits(connection)
            found = select(*SEEN).where(TUNINGS.c.seq.in_(heads), _waits(without))  # said again: one may have been taken since
            for row in connection.execute(found).mappings():
                self._put(dict(row))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        looked_at = 0
        while self._heads and looked_at < LOOKED_AT:
            rank, row = heapq.heappop(self._heads)
            if not self._may(row["workspace"]):
                continue
            if rank != self._rank(row):  # a job of its workspace started since
                self._put(row)
                continue
            looked_at += 1
            yield row
            following = self._next(row)
            if following is not None:
                self._put(following)

    def started(self, workspace: str) -> None:
        """One more job of the workspace runs."""
        self._running[workspace] += 1

    def _put(self, row: dict[str, Any]) -> None:
        heapq.heappush(self._heads, (self._rank(row), row))

    def _next(self, last: dict[str, Any]) -> dict[str, Any] | None:
        """The job of a workspace behind the one that was looked at."""
        rows = self._behind.setdefault(last["workspace"], deque())
        if not rows and self.deeper and self._may(last["workspace"]):
            behind = tuple_(TUNINGS.c.turn, TUNINGS.c.seq) > tuple_(-last["priority"], last["seq"])
            query = select(*SEEN).where(_waits(self.without), TUNINGS.c.workspace == last["workspace"], behind)
            with self.engine.connect() as connection:
                rows.extend(map(dict, connection.execute(query.order_by(TUNINGS.c.turn, TUNINGS.c.seq).limit(EACH)).mappings()))
        return rows.popleft() if rows else None

    def _may(self, workspace: str) -> bool:
        most = self._most.get(workspace, 0)
        return not most or self._running[workspace] < most

    def _rank(self, row: dict[str, Any]) -> tuple[int, int, int]:
        return -int(row["priority"]), self._running[row["workspace"]], int(row["seq"])


def limits(connection: Connection, *names: str) -> dict[str, int]:
    """How many jobs may run at once, by workspace; 0: without limit."""
    query = select(WORKSPACES.c.name, WORKSPACES.c.settings)
    if names:
        query = query.where(WORKSPACES.c.name.in_(names))
    return {row.name: int((row.settings or {}).get("jobs_running", 0) or 0) for row in connection.execute(query)}


def _waits(without: Collection[str]) -> ColumnElement[bool]:
    free = or_(TUNINGS.c.lease_token == "", TUNINGS.c.lease_expires_at < time.time())
    waits = and_(TUNINGS.c.state == "queued", TUNINGS.c.wish == "", free)
    return and_(waits, TUNINGS.c.id.not_in(list(without))) if without else waits


def _heads(without: Collection[str]) -> Select[Any]:
    """The first job of each workspace. Workspaces are found by steps along the index: to sort 100,000 rows out takes long."""
    queued = TUNINGS.c.state == "queued"
    steps = select(func.min(TUNINGS.c.workspace).label("name")).where(queued).cte("steps", recursive=True)
    following = select(func.min(TUNINGS.c.workspace)).where(queued, TUNINGS.c.workspace > steps.c.name).scalar_subquery()
    steps = steps.union_all(select(following).where(steps.c.name.is_not(None)))
    first = select(TUNINGS.c.seq).where(_waits(without), TUNINGS.c.workspace == steps.c.name)
    first = first.order_by(TUNINGS.c.turn, TUNINGS.c.seq).limit(1)
    heads = select(first.scalar_subquery().label("seq")).where(steps.c.name.is_not(None)).subquery()
    return select(heads.c.seq).where(heads.c.seq.is_not(None))
