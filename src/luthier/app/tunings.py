"""The rows of fine-tuning jobs: written, listed, claimed under a lease, and moved only while the lease is held."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, case, delete, func, insert, literal_column, select, update

from luthier.app import creating, queue
from luthier.app.leases import FREE, gone, host_of, owner
from luthier.core.errors import Conflict, UnknownName
from luthier.core.tuning import FINAL, State, may_move
from luthier.store.tables import EVENTS, FILES, TUNING_METADATA, TUNINGS

LEASE_S = 30.0
PATIENCE_S = 300.0
"""How long past its lease a job is left to an owner of this machine that lives: a stopped clock or a busy disk is no death."""

UNTOLD = "tell"
"""The wish of a job that ended and whose end was not told to the webhooks yet."""

WISHED = TUNINGS.c.wish != literal_column("''")
"""Said to the databases, whose index of wishes has no rows without one."""



class Tunings:
    """The table of one workspace, or (``workspace=""``, for workers) of all."""

    def __init__(self, engine: Engine, workspace: str = "") -> None:
        self.engine = engine
        self.workspace = workspace

    def _mine(self) -> list[ColumnElement[bool]]:
        return [TUNINGS.c.workspace == self.workspace] if self.workspace else []

    # -- owners ---------------------------------------------------------------------------------------------------

    def add(self, row: dict[str, Any]) -> dict[str, Any]:
        """Writes a job and its metadata in one transaction."""
        with self.engine.begin() as connection:
            creating.write(connection, row)
        return self.get(row["id"])

    def get(self, job: str) -> dict[str, Any]:
        """The job; raises ``UnknownName``."""
        with self.engine.connect() as connection:
            row = connection.execute(select(TUNINGS).where(TUNINGS.c.id == job, *self._mine())).mappings().first()
        if row is None:
            raise _unknown(job)
        return dict(row)

    def page(self, limit: int, after: str = "", metadata: dict[str, str] | None = None, *, without: bool = False) -> list[dict[str, Any]]:
        """At most ``limit`` jobs, newest first, after the job ``after``; with all the metadata given (``without``: with none at all)."""
        query = select(TUNINGS).where(*self._mine()).order_by(TUNINGS.c.seq.desc()).limit(limit)
        if after:
            query = query.where(TUNINGS.c.seq < self.get(after)["seq"])
        for key, value in (metadata or {}).items():
            meant = (TUNING_METADATA.c.workspace == self.workspace, TUNING_METADATA.c.key == key, TUNING_METADATA.c.value == value)
            query = query.where(TUNINGS.c.seq.in_(select(TUNING_METADATA.c.job_seq).where(*meant)))
        if without:
            query = query.where(~select(TUNING_METADATA.c.job_seq).where(TUNING_METADATA.c.job_seq == TUNINGS.c.seq).exists())
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def count(self, states: Iterable[State]) -> int:
        """How many jobs are in these states."""
        query = select(func.count()).select_from(TUNINGS).where(TUNINGS.c.state.in_(list(states)), *self._mine())
        with self.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def move_free(self, job: str, new: State, told: Sequence[dict[str, Any]] = (), **values: Any) -> bool:
        """Moves a job that nobody holds; whether it was moved. Raises ``Conflict`` when that is no legal move.

        ``told``: rows of the journal that are written with the move, or not at all.
        """
        row = self.get(job)
        if row["state"] == "running":
            return False
        if not may_move(row["state"], new):
            raise Conflict(f"job {job} is {row['state']} and cannot become {new}", "retrieve the job to see its state")
        free = and_(TUNINGS.c.id == job, TUNINGS.c.state == row["state"], TUNINGS.c.lease_token == "")
        return self._write(free, told, state=new, wish=UNTOLD if new in FINAL else "", **values)

    def standing(self, job: str) -> tuple[str, str]:
        """The job's state, and the wish that its worker has not seen yet; raises ``UnknownName``."""
        with self.engine.connect() as connection:
            row = connection.execute(select(TUNINGS.c.state, TUNINGS.c.wish).where(TUNINGS.c.id == job, *self._mine())).first()
        if row is None:
            raise _unknown(job)
        return str(row.state), str(row.wish)

    def wish(self, job: str, wish: str) -> bool:
        """Asks whoever runs the job to cancel or pause it; whether that was written: to cancel outranks to pause."""
        weaker = TUNINGS.c.wish.in_(("", "pause") if wish == "cancel" else ("",))
        running = and_(TUNINGS.c.id == job, TUNINGS.c.state == "running", weaker, *self._mine())
        with self.engine.begin() as connection:
            return bool(connection.execute(update(TUNINGS).where(running).values(wish=wish)).rowcount)

    def remove(self, job: str) -> None:
        """Takes a finished job out; raises ``Conflict`` for one that is not finished."""
        row = self.get(job)
        ended = and_(TUNINGS.c.id == job, TUNINGS.c.state.in_(FINAL))
        with self.engine.begin() as connection:
            if not connection.execute(delete(TUNINGS).where(ended)).rowcount:
                raise Conflict(f"job {job} is {row['state']}", "cancel it first")
            connection.execute(delete(TUNING_METADATA).where(TUNING_METADATA.c.job_seq == row["seq"]))

    # -- workers --------------------------------------------------------------------------------------------------

    def waiting(self, active: Collection[str] = ()) -> list[dict[str, Any]]:
        """Jobs that may be claimed, by turn (``app.queue``), and before them those whose owner is gone."""
        return self.lost(active) + list(queue.Line(self.engine))

    def lost(self, active: Collection[str] = ()) -> list[dict[str, Any]]:
        """Running jobs whose owner is gone.

        ``active``: what this process works on; any other job that its lease names was dropped (the database was away).
        """
        now, me = time.time(), owner()
        held = select(*queue.SEEN).where(TUNINGS.c.state == "running").order_by(TUNINGS.c.seq)
        with self.engine.connect() as connection:
            found = [dict(row) for row in connection.execute(held).mappings()]
        return [row for row in found if row["id"] not in active and (row["lease_owner"] == me or _void(row, now))]

    def unchecked(self) -> Iterator[dict[str, Any]]:
        """Jobs whose files were not checked yet when they came, and are by now."""
        needs = FILES.c.id.in_((TUNINGS.c.training_file, TUNINGS.c.validation_file))
        pending = select(FILES.c.seq).where(needs, FILES.c.status == "uploaded").exists()
        query = select(TUNINGS).where(TUNINGS.c.state == "validating_files", ~pending).order_by(TUNINGS.c.seq).limit(100)
        after = 0
        while True:
            with self.engine.connect() as connection:
                page = [dict(row) for row in connection.execute(query.where(TUNINGS.c.seq > after)).mappings()]
            if not page:
                return
            yield from page
            after = page[-1]["seq"]

    def idle(self) -> bool:
        """Whether no job waits for anything that a worker does."""
        query = select(TUNINGS.c.seq).where(TUNINGS.c.state.in_(("queued", "validating_files"))).limit(1)
        with self.engine.connect() as connection:
            return connection.execute(query).first() is None

    def claim(self, row: dict[str, Any], admit: Callable[[Connection], dict[str, Any] | None] | None = None) -> str:
        """Takes a job that ``waiting`` showed; the token, or "" when another worker was quicker.

        ``admit`` is asked in the same transaction, before anything else: what is to be written too, or none if it must not be taken.
        """
        token, now = secrets.token_hex(8), time.time()
        same = and_(TUNINGS.c.seq == row["seq"], TUNINGS.c.state == row["state"], TUNINGS.c.lease_token == row["lease_token"])
        lease = {"lease_owner": owner(), "lease_token": token, "lease_expires_at": now + LEASE_S}
        started = {"started_at": row["started_at"] or now, "attempts": row["attempts"] + (row["state"] == "running")}
        with self.engine.begin() as connection:
            more = admit(connection) if admit is not None else {}
            if more is None:
                return ""
            done = connection.execute(update(TUNINGS).where(same).values({"state": "running", "card": ""} | lease | started | more))
        return token if done.rowcount == 1 else ""

    def beat(self, job: str, token: str, *, extend: bool = True) -> str | None:
        """Extends the lease (or only looks); what the owner wishes ("", cancel, pause), or ``None`` when the lease is lost."""
        held = and_(TUNINGS.c.id == job, TUNINGS.c.lease_token == token, TUNINGS.c.state == "running")
        with self.engine.begin() as connection:
            if extend and not connection.execute(update(TUNINGS).where(held).values(lease_expires_at=time.time() + LEASE_S)).rowcount:
                return None
            wish = connection.execute(select(TUNINGS.c.wish).where(held)).scalar()
        return None if wish is None else str(wish)

    def change(self, job: str, token: str, **values: Any) -> bool:
        """Writes values into a job while the lease is held; whether it was."""
        held = and_(TUNINGS.c.id == job, TUNINGS.c.lease_token == token, TUNINGS.c.state == "running")
        return self._write(held, (), **values)

    def end(self, job: str, token: str, new: State, told: Sequence[dict[str, Any]] = (), **values: Any) -> bool:
        """Moves a running job, gives the lease back and writes ``told`` into the journal, all at once; whether the lease was still held.

        A wish that came meanwhile is kept by a job that goes back to the queue; one to cancel also by one that is paused (``wished``).
        """
        held = and_(TUNINGS.c.id == job, TUNINGS.c.lease_token == token, TUNINGS.c.state == "running")
        kept = TUNINGS.c.wish if new == "queued" else case((TUNINGS.c.wish == "cancel", "cancel"), else_="")
        return self._write(held, told, state=new, wish=UNTOLD if new in FINAL else kept, **FREE, **values)

    def _write(self, meant: ColumnElement[bool], told: Sequence[dict[str, Any]], **values: Any) -> bool:
        with self.engine.begin() as connection:
            if not connection.execute(update(TUNINGS).where(meant).values(**values)).rowcount:
                return False
            if told:
                connection.execute(insert(EVENTS), list(told))
        return True

    def told(self, job: str) -> None:
        """Everybody who wants to know how the job ended has been told."""
        with self.engine.begin() as connection:
            connection.execute(update(TUNINGS).where(TUNINGS.c.id == job, TUNINGS.c.wish == UNTOLD).values(wish=""))

    def wished(self) -> list[dict[str, Any]]:
        """Jobs that nobody works on and whose owner wished something of their last worker."""
        idle = and_(TUNINGS.c.state.in_(("queued", "paused")), TUNINGS.c.lease_token == "")
        query = select(TUNINGS).where(WISHED, TUNINGS.c.wish.in_(("cancel", "pause")), idle, *self._mine())
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def untold(self) -> list[dict[str, Any]]:
        """Finished jobs whose worker was killed before it told of their end."""
        query = select(TUNINGS).where(WISHED, TUNINGS.c.wish == UNTOLD, TUNINGS.c.state.in_(FINAL))
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


def _unknown(job: str) -> UnknownName:
    return UnknownName(f"there is no fine-tuning job {job!r}", "list them: GET /v1/fine_tuning/jobs")


def _void(row: dict[str, Any], now: float) -> bool:
    """Whether the owner of a running job is gone: it is a dead process of this machine, or its lease ran out."""
    if gone(row["lease_owner"]):
        return True
    here = host_of(row["lease_owner"]) == host_of(owner())
    return bool(row["lease_expires_at"] + (PATIENCE_S if here else 0.0) < now)
