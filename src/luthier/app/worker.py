"""The worker: takes queued jobs, runs them, keeps their leases alive, acts on wishes, and does what must be done from time to time.

Any number of workers may share a database, on one machine or several. One that is killed takes its stage processes with it; its jobs are
taken over by the next one that looks.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from luthier.app import workers
from luthier.app.capacity import Capacity
from luthier.app.deploying import Deploying
from luthier.app.rolling import Rolling
from luthier.app.service import Service
from luthier.app.tuning_work import Work
from luthier.app.tunings import Tunings
from luthier.app.turns import Turns
from luthier.core.errors import LuthierError

LOG = logging.getLogger("luthier.worker")
LOOK_S = 0.3
EXTEND_S = 5.0
CHORES_S = 5.0
DATABASE_AWAY_S = 2.0


class Worker:
    """``run`` blocks until ``stop``; ``idle_end`` lets it end by itself once nothing is left to do (for scripts and tests)."""

    def __init__(self, home: str = "", *, jobs: int = 0) -> None:
        self.service = Service(home)
        self.home = str(self.service.workspace.root)
        self.tunings = Tunings(self.service.workspace.engine())
        self.capacity = Capacity(jobs)
        self.turns = Turns(self.tunings.engine, self.capacity)
        self.deploying = Deploying(self.tunings.engine, self.home, self.capacity)
        self._stop = threading.Event()
        self._active: dict[str, Work] = {}
        self._later: dict[str, float] = {}
        self._lock = threading.Lock()
        self._services: dict[str, Service] = {self.service.workspace.name: self.service}
        self.rolling = Rolling(self.tunings.engine, self._of)

    def run(self, *, idle_end: bool = False) -> None:
        """Works until ``stop`` is called; then ends its jobs in good order (they go back to the queue)."""
        self._guarded(self._tell)
        threads = [threading.Thread(target=self._repeat, args=(what, every), daemon=True) for what, every in self._duties()]
        for thread in threads:
            thread.start()
        while not self._stop.wait(LOOK_S):
            idle = self._guarded(self._look)
            if idle_end and idle and not self._active and not self.deploying.busy:
                break
        self._stop.set()
        for work in list(self._active.values()):
            work.stop("requeue")
        while self._active or self.deploying.busy:
            self.deploying.stop()
            time.sleep(0.05)

    def stop(self) -> None:
        """Asks ``run`` to end."""
        self._stop.set()

    def _duties(self) -> list[tuple[Callable[[], Any], float]]:
        often = [(self._beat, LOOK_S), (self._check, 0.5), (self._admit, 0.5), (self._deliver, 1.0), (self.deploying.look, 1.0)]
        often.append((self.rolling.look, 1.0))
        return [*often, (self._tell, CHORES_S), (self._chores, CHORES_S)]

    def _repeat(self, what: Callable[[], Any], every_s: float) -> None:
        while not self._stop.wait(every_s):
            self._guarded(what)

    def _guarded(self, what: Callable[[], Any]) -> Any:
        """The duty; what goes wrong in it is logged, and it is tried again: a database that is away comes back."""
        try:
            return what()
        except SQLAlchemyError as error:
            LOG.warning("the database cannot be used: %s", type(error).__name__)
            self._stop.wait(DATABASE_AWAY_S)
        except LuthierError as error:
            LOG.warning("%s", error.message)
        except Exception:
            LOG.exception("a duty of the worker failed; it goes on")
        return False

    # -- jobs -----------------------------------------------------------------------------------------------------

    def _look(self) -> bool:
        """Takes every job that this machine carries now; whether nothing waits."""
        now = time.monotonic()
        with self._lock:
            self._later = {job: at for job, at in self._later.items() if at > now}
        taken = self.turns.take(self._active, self._later)
        for row, token in taken:
            self._start(row, token)
        return not taken and self.tunings.idle()

    def _start(self, row: dict[str, Any], token: str) -> None:
        work = Work(self.home, row, token, self.tunings)
        work.service.card = row["card"]
        self._active[work.job] = work
        threading.Thread(target=self._work, args=(work,), name=work.job, daemon=True).start()

    def _work(self, work: Work) -> None:
        try:
            if self._guarded(work.run) is False:
                work.retry_in_s = work.retry_in_s or 5.0
        finally:
            if work.retry_in_s:
                with self._lock:
                    self._later[work.job] = time.monotonic() + work.retry_in_s
            self._active.pop(work.job, None)

    def _beat(self) -> None:
        """Extends the leases of the jobs at work, and hands their owners' wishes on."""
        now = time.monotonic()
        extend = now - getattr(self, "_extended", 0.0) >= EXTEND_S
        if extend:
            self._extended = now
        for work in list(self._active.values()):
            wish = self.tunings.beat(work.job, work.token, extend=extend)
            if wish is None and work.job in self._active:
                work.lose()
            elif wish in ("cancel", "pause"):
                work.stop(wish)

    # -- chores ---------------------------------------------------------------------------------------------------

    def _of(self, workspace: str) -> Service:
        """The use cases of a workspace."""
        if workspace not in self._services:
            self._services[workspace] = Service(self.home, workspace=workspace)
        return self._services[workspace]

    def _tell(self) -> None:
        """That there is a worker here, and how much memory it has for jobs."""
        workers.tell(self.tunings.engine, self.capacity.memory_bytes)

    def _chores(self) -> None:
        from luthier.app.courier import Courier

        self.service.files.expire()
        self.service.uploads.expire()
        Courier(self.tunings.engine).forget()
        for row in self.tunings.untold():
            self._of(row["workspace"]).fine_tuning.notify(row["id"], row["state"])
        for row in self.tunings.wished():
            self._of(row["workspace"]).fine_tuning.settle(row)

    def _check(self) -> None:
        """Checks large files that came."""
        self.service.files.check_pending()

    def _admit(self) -> None:
        """Lets jobs go on that waited for that; one that cannot be looked at now keeps no other one waiting."""
        for row in self.tunings.unchecked():
            self._guarded(partial(self._of(row["workspace"]).fine_tuning.admit, row))

    def _deliver(self) -> None:
        from luthier.app.courier import Courier

        Courier(self.tunings.engine).deliver_due(20)
