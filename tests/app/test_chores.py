"""What a worker does from time to time, whether or not there are jobs."""

from __future__ import annotations

import time
from pathlib import Path

from sqlalchemy import insert, select

from luthier.app.courier import KEPT_S
from luthier.app.worker import Worker
from luthier.store.tables import DELIVERIES


def test_deliveries_that_ended_long_ago_are_forgotten(tmp_path: Path) -> None:
    worker, now = Worker(str(tmp_path)), time.time()
    row = {"workspace": "default", "webhook": "wh_1", "event": {}, "created_at": now}
    ages = {"old": ("delivered", now - KEPT_S - 60), "given_up": ("failed", now - KEPT_S - 60), "new": ("delivered", now - 60)}
    ages["waiting"] = ("pending", now - KEPT_S - 60)
    with worker.tunings.engine.begin() as connection:
        connection.execute(insert(DELIVERIES), [row | {"id": id, "state": state, "next_at": at} for id, (state, at) in ages.items()])
    worker._chores()
    with worker.tunings.engine.connect() as connection:
        assert set(connection.execute(select(DELIVERIES.c.id)).scalars()) == {"new", "waiting"}
