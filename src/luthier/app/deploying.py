"""Makes deployments true: models without an export are evaluated and exported beside the jobs, as many at once as the machine carries."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine

from luthier.app import seats
from luthier.app.capacity import Capacity
from luthier.app.deployments import pending
from luthier.app.service import Service

LOG = logging.getLogger("luthier.worker")
CROWDED_S = 60.0
"""How long an export waits for free cores: somebody asks for the model. Then one at a time runs beside jobs, if there is memory for it."""


class Deploying:
    """The exports of one worker."""

    def __init__(self, engine: Engine, home: str, capacity: Capacity) -> None:
        self.engine, self.home, self.capacity = engine, home, capacity
        self._active: dict[tuple[str, str], Service] = {}

    def look(self) -> None:
        """Begins every deployment that may be begun now, each in a thread of its own: what is exported, and what there is room for."""
        for row in pending(self.engine):
            here = (str(row["workspace"]), str(row["name"]))
            if here in self._active:
                continue
            service = Service(self.home, workspace=here[0])
            token = service.deployments.claim(here[1], self._admitted(row, service.deployments.needs(row["model"])))
            if token:
                self._active[here] = service
                threading.Thread(target=self._work, args=(here, token), name=f"deployment {here[1]}", daemon=True).start()

    def _admitted(self, row: Any, needs: dict[str, Any]) -> Callable[[Connection], dict[str, Any] | None]:
        def admit(connection: Connection) -> dict[str, Any] | None:
            seats.lock(connection)
            running = seats.taken(connection)
            late = row["created_at"] < time.time() - CROWDED_S and all(one["job"] for one in running)
            card = self.capacity.seat(needs, running, crowded=late) if needs else ""
            return None if card is None else {"needs": needs, "card": card}

        return admit

    def _work(self, here: tuple[str, str], token: str) -> None:
        try:
            self._active[here].deployments.finish(here[1], token)
        except Exception:  # the database is away: the lease runs out, and it is begun again
            LOG.exception("deployment %s was left", here[1])
        finally:
            del self._active[here]

    def stop(self) -> None:
        """Ends what runs in good order: it is begun again by the next worker."""
        for service in list(self._active.values()):
            service.stop()

    @property
    def busy(self) -> bool:
        """Whether anything runs."""
        return bool(self._active)
