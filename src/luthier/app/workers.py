"""Which workers there are, as far as is known: each says now and then how much memory it gives to jobs."""

from __future__ import annotations

import time

from sqlalchemy import Engine, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from luthier.app.capacity import memory_bytes
from luthier.store import processes
from luthier.store.tables import WORKERS

KNOWN_S = 3600.0
"""How long a worker is counted on that was not seen any more: it may be started again."""


def tell(engine: Engine, given: float) -> None:
    """This machine has a worker that gives so many bytes to jobs."""
    mine, values = WORKERS.c.machine == processes.machine(), {"memory_bytes": int(given), "seen_at": time.time()}
    with engine.begin() as connection:
        if connection.execute(update(WORKERS).where(mine).values(**values)).rowcount:
            return
    try:
        with engine.begin() as connection:
            connection.execute(delete(WORKERS).where(WORKERS.c.seen_at < time.time() - KNOWN_S))
            connection.execute(insert(WORKERS).values(machine=processes.machine(), **values))
    except IntegrityError:
        pass  # another worker of this machine did so just now


def largest(engine: Engine) -> float:
    """The most bytes that any worker gives; this machine's, where none is known."""
    with engine.connect() as connection:
        known = connection.execute(select(func.max(WORKERS.c.memory_bytes)).where(WORKERS.c.seen_at > time.time() - KNOWN_S)).scalar()
    return float(known) if known is not None else memory_bytes()
