"""Jobs as rows with a lease: who works on one, until when; moves apply only while the token still matches.

A lease is (owner, token, expiry). The holder extends it by a heartbeat. It is void when it ran out, or when its owner is a process
of this machine that is gone; so a killed runner can be started again at once.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Engine, and_, insert, select, update
from sqlalchemy.exc import IntegrityError

from luthier.core.errors import Conflict
from luthier.core.job import State, may_move
from luthier.store import processes
from luthier.store.tables import JOBS

LEASE_S = 30.0
FREE = {"lease_owner": "", "lease_token": "", "lease_expires_at": 0.0}
"""Of a row that nobody holds."""


def owner() -> str:
    """This process: its machine (``store.processes``), that machine's name for people to read, its number, and when it was started."""
    me = processes.mark()
    return f"{me.machine}:{socket.gethostname()}:{me.pid}:{me.started}"


def host_of(name: str) -> str:
    """The machine of an owner."""
    return name.partition(":")[0]


def gone(name: str) -> bool:
    """Whether the owner is a process of this machine that runs no more. Another machine may have the same name: it is not mistaken."""
    machine, *_, pid, started = name.split(":") if name.count(":") == 3 else ("", "", "")
    return pid.isdigit() and started.isdigit() and processes.gone(processes.Mark(machine, int(pid), int(started)))


def free(row: Mapping[Any, Any], now: float) -> bool:
    """Whether nobody alive holds the row, and it does not rest (a lease without a token, which ends by itself)."""
    return bool(row["lease_expires_at"] <= now or (row["lease_token"] and gone(row["lease_owner"])))


def _taken(stage: str, run: str) -> Conflict:
    return Conflict(f"{stage} of run {run!r} was taken by another process just now", "wait until it ends")


class Leases:
    """The jobs table, seen as leases."""

    def __init__(self, engine: Engine, workspace: str = "default") -> None:
        self.engine = engine
        self.workspace = workspace

    def _is(self, job: str) -> ColumnElement[bool]:
        return and_(JOBS.c.workspace == self.workspace, JOBS.c.id == job)

    @contextlib.contextmanager
    def held(self, job: str, run: str, stage: str) -> Iterator[str]:
        """Holds the job while the block runs; raises ``Conflict`` when somebody alive holds it. Gives the token."""
        token = self._take(job, run, stage)
        stop = threading.Event()
        heart = threading.Thread(target=self._beat, args=(job, token, stop), daemon=True)
        heart.start()
        try:
            yield token
        finally:
            stop.set()
            heart.join(timeout=1)
            self._change(job, token, FREE)

    def _take(self, job: str, run: str, stage: str) -> str:
        token, now = secrets.token_hex(8), time.time()
        lease = {"lease_owner": owner(), "lease_token": token, "lease_expires_at": now + LEASE_S, "updated_at": now}
        with self.engine.begin() as connection:
            row = connection.execute(select(JOBS).where(self._is(job))).first()
            if row is None:
                fresh = {"workspace": self.workspace, "id": job, "run": run, "stage": stage, "state": "queued", "artifact": "", "error": {}}
                try:
                    connection.execute(insert(JOBS), [fresh | lease])
                except IntegrityError:  # another process wrote the row since the look above
                    raise _taken(stage, run) from None
                return token
            if row.lease_token and row.lease_expires_at > now and not gone(row.lease_owner):
                raise Conflict(
                    f"{stage} of run {row.run!r} is being done by {row.lease_owner}",
                    "wait until it ends, or give this run another name or LUTHIER_HOME",
                )
            done = connection.execute(
                update(JOBS).where(self._is(job), JOBS.c.lease_token == row.lease_token).values(run=run, state="queued", **lease)
            )
            if done.rowcount != 1:
                raise _taken(stage, run)
        return token

    def _beat(self, job: str, token: str, stop: threading.Event) -> None:
        while not stop.wait(LEASE_S / 5):
            self._change(job, token, {"lease_expires_at": time.time() + LEASE_S})

    def _change(self, job: str, token: str, values: Mapping[str, Any]) -> bool:
        with self.engine.begin() as connection:
            done = connection.execute(update(JOBS).where(self._is(job), JOBS.c.lease_token == token).values(**values))
        return bool(done.rowcount == 1)

    def move(self, job: str, token: str, new: State, **values: Any) -> State:
        """Moves the job to ``new`` if that is legal and the token still matches; gives the state it had. Raises ``Conflict`` otherwise."""
        with self.engine.connect() as connection:
            old: State = connection.execute(select(JOBS.c.state).where(self._is(job))).scalar_one()
        if not may_move(old, new):
            raise Conflict(f"job {job} is {old} and cannot become {new}")
        if not self._change(job, token, {"state": new, "updated_at": time.time(), **values}):
            raise Conflict(f"job {job} was taken over by another process", "its lease ran out: is this machine overloaded?")
        return old

    def all(self, run: str = "") -> list[dict[str, Any]]:
        """Every job as a dictionary, newest first."""
        query = select(JOBS).where(JOBS.c.workspace == self.workspace).order_by(JOBS.c.updated_at.desc())
        with self.engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query.where(JOBS.c.run == run) if run else query)]
