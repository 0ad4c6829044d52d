"""The request journal's writer: takes answers off the request path and appends them in batches from its own thread.

A killed server loses at most the last ``EVERY_S`` of the journal (the answers themselves were sent); a stopped one loses nothing.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from luthier.core.events import Event

LOG = logging.getLogger("luthier.serve")
EVERY_S = 0.25
LIMIT = 100_000
"""Events that may wait while the disk is slow; later ones are counted in ``dropped`` and not kept."""


class Appends(Protocol):
    """What takes events: the journal."""

    def append(self, events: Sequence[Event]) -> Any:
        """Writes the events in one transaction."""


class Recorder:
    """``record`` never blocks. ``also`` are functions called by the same thread, each ``also_every`` rounds (writing drift samples)."""

    def __init__(self, journal: Appends, *, also: Callable[[], None] = lambda: None, also_every: int = 8) -> None:
        self.dropped = 0
        self._journal = journal
        self._also = also
        self._also_every = also_every
        self._waiting: deque[Event] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def record(self, events: Sequence[Event]) -> None:
        """Queues events."""
        if len(self._waiting) + len(events) > LIMIT:
            self.dropped += len(events)
            return
        self._waiting.extend(events)

    def _work(self) -> None:
        rounds = 0
        while not self._stop.wait(EVERY_S):
            self._write()
            rounds += 1
            if rounds % self._also_every == 0:
                self._guard(self._also)
        self._write()
        self._guard(self._also)
        self.dropped += len(self._waiting)
        if self._waiting:
            LOG.error("%d events of the request journal could not be written before the end", len(self._waiting))
        self._waiting.clear()

    def _write(self) -> None:
        while self._waiting:
            events = [self._waiting.popleft() for _ in range(min(len(self._waiting), 1000))]
            if not self._guard(lambda events=events: self._journal.append(events)):  # type: ignore[misc]
                self._waiting.extendleft(reversed(events))
                return

    def _guard(self, work: Callable[[], Any]) -> bool:
        """A full disk or a locked database must not end the thread; what could not be written is tried again in the next round."""
        try:
            work()
        except Exception:
            LOG.exception("the request journal could not be written; it is tried again")
            return False
        return True

    def close(self) -> None:
        """Writes what waits and ends; what cannot be written is counted in ``dropped``."""
        self._stop.set()
        self._thread.join()
