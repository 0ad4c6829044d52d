"""Which jobs this machine takes now: whose turn it is, what fits beside what runs, and that a large one gets its turn too."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from luthier.app import queue, seats, workers
from luthier.app.capacity import Capacity
from luthier.app.tunings import Tunings
from luthier.store.database import alone
from luthier.store.tables import TUNINGS

PASSED_S = 60.0
"""How long a job that does not fit is passed over by others. After that nothing behind it starts here until it fits."""

REMEMBERED = 1000
"""Jobs that were passed over, of which that is known."""

FULL_S = 3.0
"""How often a machine that has no room looks nevertheless: a job whose work is done elsewhere may start."""

Taken = tuple[dict[str, Any], str]
"""A job and the token of its lease."""


class Turns:
    """The turns of one worker."""

    def __init__(self, engine: Engine, capacity: Capacity) -> None:
        self.engine = engine
        self.capacity = capacity
        self.tunings = Tunings(engine)
        self._passed: dict[str, float] = {}
        self._looked = -FULL_S

    def take(self, active: Collection[str] = (), later: Collection[str] = ()) -> list[Taken]:
        """Takes what fits, by turn; before that jobs whose worker is gone. ``active``: what this process works on; ``later``: what is to be
        tried later."""
        now = time.monotonic()
        lost = [row for row in self.tunings.lost(active) if row["id"] not in later]
        dropped = {row["id"] for row in lost}
        with self.engine.connect() as connection:
            running = [one for one in seats.taken(connection) if one["id"] not in dropped]
        if self.capacity.full(running) and now < self._looked + FULL_S:
            return []
        self._looked = now
        long = {job for job, since in self._passed.items() if now - since >= PASSED_S}
        line = queue.Line(self.engine, later)
        taken: list[Taken] = []
        passed: list[str] = []
        for row in chain(lost, line):
            line.deeper = not self.capacity.full(running)
            if self._for_others(row["needs"]):
                continue
            if self.capacity.seat(row["needs"] | {"job": True}, running) is None:
                passed.append(row["id"])
                if row["id"] in long:
                    break
                continue
            token = self.tunings.claim(row, self._admitted(row))
            if token:
                fresh = self.tunings.get(row["id"])
                taken.append((fresh, token))
                running.append(seats.entry(row["id"], fresh["needs"], fresh["card"], job=True))
                if row["state"] == "queued":  # one that was lost is counted already
                    line.started(row["workspace"])
                self._passed.pop(row["id"], None)
                self._passed |= {job: now for job in passed if job not in self._passed}
        while len(self._passed) > REMEMBERED:  # the oldest: others may have taken them long ago
            del self._passed[next(iter(self._passed))]
        return taken

    def _for_others(self, needs: dict[str, Any]) -> bool:
        """Whether it is too large for this machine, and another one is known that has the memory."""
        return self.capacity.too_large(needs) and workers.largest(self.engine) >= float(needs.get("memory_bytes", 0))

    def _admitted(self, row: dict[str, Any]) -> Callable[[Connection], dict[str, Any] | None]:
        """Asked again while nobody else takes anything, here or for the workspace; what is written with the lease, or none."""

        def admit(connection: Connection) -> dict[str, Any] | None:
            seats.lock(connection)
            beside = [one for one in seats.taken(connection) if one["id"] != row["id"]]
            card = self.capacity.seat(row["needs"] | {"job": True}, beside)
            if card is None or (row["state"] == "queued" and not _may_run(connection, row["workspace"])):
                return None
            return {"card": card}

        return admit


def _may_run(connection: Connection, workspace: str) -> bool:
    """Whether the workspace may have one more running job."""
    most = queue.limits(connection, workspace).get(workspace, 0)
    if not most:
        return True
    alone(connection, f"running in {workspace}")
    running = select(func.count()).select_from(TUNINGS).where(TUNINGS.c.workspace == workspace, TUNINGS.c.state == "running")
    return int(connection.execute(running).scalar_one()) < most
