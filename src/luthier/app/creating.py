"""Requests to create a job, so known that a repetition makes no second one: on whichever server it comes, and while the first is at work.

Clients repeat a POST whose answer they did not get. Some send an ``Idempotency-Key``; OpenAI's say in a header that this is their second
try. Such a job is marked in the database, where a mark is unique: the first try, which may still be at work elsewhere, finds it too.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, literal_column, select, update

from luthier.core.errors import Conflict, QuotaExceeded
from luthier.core.tuning import State
from luthier.core.types import canonical_json
from luthier.store.database import alone
from luthier.store.tables import EVENTS, TUNING_METADATA, TUNINGS

REPEAT_S = 600.0
"""How long a request is known that comes again without a key."""

KEY_S = 86400.0
"""How long a key is known."""

ALIVE: tuple[State, ...] = ("validating_files", "queued", "running", "paused")


class KeyReused(Conflict):
    """The ``Idempotency-Key`` came before with another request."""

    code = "idempotency_error"


@dataclass(frozen=True)
class Post:
    """A request: ``body`` as it was sent, ``key`` of the caller's own ("" for none), ``repeated`` where the client says that it may be."""

    body: dict[str, Any]
    key: str = ""
    repeated: bool = False
    came_at: float = field(default_factory=time.time)

    @property
    def fingerprint(self) -> str:
        """Equal for equal requests."""
        return _hash(canonical_json(self.body))

    @property
    def mark(self) -> str:
        """What is unique of the job that a keyed request, or one that comes again, makes."""
        return _hash(f"key {self.key}") if self.key else _hash(f"again {self.fingerprint}")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def known(engine: Engine, workspace: str, post: Post) -> dict[str, Any] | None:
    """The job that this request made already; raises ``KeyReused``."""
    with engine.connect() as connection:
        return _known(connection, workspace, post)


def create(engine: Engine, row: dict[str, Any], post: Post, told: Sequence[dict[str, Any]] = (), most: int = 0) -> dict[str, Any]:
    """Writes the job and what the journal says of it, or finds the one that the request made meanwhile. Creates of one workspace do this
    one after another, so that its limit holds: raises ``QuotaExceeded`` where it has ``most`` unfinished jobs (0: no limit)."""
    with engine.begin() as connection:
        alone(connection, f"jobs of {row['workspace']}")
        found = _known(connection, row["workspace"], post)
        if found is not None:
            return found
        check_quota(connection, row["workspace"], most)
        marked = post.mark if post.key or post.repeated else ""
        if marked:  # one of a time that is over: the key may be used again
            same = (TUNINGS.c.workspace == row["workspace"], TUNINGS.c.idempotency == marked, _MARKED)
            connection.execute(update(TUNINGS).where(*same).values(idempotency=""))
        seq = write(connection, row | {"idempotency": marked, "fingerprint": post.fingerprint}, told)
        return dict(connection.execute(select(TUNINGS).where(TUNINGS.c.seq == seq)).mappings().one())


def check_quota(connection: Connection, workspace: str, most: int) -> None:
    """Raises ``QuotaExceeded`` where the workspace has ``most`` unfinished jobs."""
    alive = select(func.count()).select_from(TUNINGS).where(TUNINGS.c.workspace == workspace, TUNINGS.c.state.in_(ALIVE))
    if most and int(connection.execute(alive).scalar_one()) >= most:
        raise QuotaExceeded(f"the workspace has {most} unfinished jobs, which is its most", "wait for one to end, or cancel one")


def write(connection: Connection, row: dict[str, Any], told: Sequence[dict[str, Any]] = ()) -> int:
    """Writes a job, its metadata and what the journal says of it; the job's number."""
    seq = int(connection.execute(insert(TUNINGS).values(**row)).inserted_primary_key[0])  # type: ignore[index]
    pairs = [{"job_seq": seq, "workspace": row["workspace"], "key": key, "value": value} for key, value in row["metadata"].items()]
    for table, rows in ((TUNING_METADATA, pairs), (EVENTS, list(told))):
        if rows:
            connection.execute(insert(table), rows)
    return seq


_MARKED = TUNINGS.c.idempotency != literal_column("''")
"""Said to the databases, which use an index of some rows only for who asks for these."""


def _known(connection: Connection, workspace: str, post: Post) -> dict[str, Any] | None:
    query = select(TUNINGS).where(TUNINGS.c.workspace == workspace)
    marked = query.where(TUNINGS.c.idempotency == post.mark, _MARKED)
    if post.key:
        query = marked.where(TUNINGS.c.created_at >= post.came_at - KEY_S)
    elif post.repeated:
        unkeyed = TUNINGS.c.idempotency.in_(("", post.mark))
        query = query.where(TUNINGS.c.fingerprint == post.fingerprint, unkeyed, TUNINGS.c.created_at >= post.came_at - REPEAT_S)
    else:  # it was repeated while it was at work here, and the repetition made its job
        query = marked.where(TUNINGS.c.created_at >= post.came_at)
    row = connection.execute(query.order_by(TUNINGS.c.seq.desc()).limit(1)).mappings().first()
    if row is not None and post.key and row["fingerprint"] != post.fingerprint:
        raise KeyReused(f"the Idempotency-Key came with another request, which made {row['id']}", "send the same request, or another key")
    return None if row is None else dict(row)
