"""Lanes: threads with a bounded queue each, that take whatever waits and pass it on. Nothing ever waits for a batch to fill."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from luthier.core.errors import NotPossible, Overloaded

Work = TypeVar("Work")
Choose = Callable[[deque[Work]], list[Work]]
"""Takes at least one piece out of a queue that is not empty."""


class Closed(NotPossible):
    """This lane takes nothing more: its endpoint was replaced, and the successor answers."""

    code = "closed"


def everything(queue: deque[Work]) -> list[Work]:
    """All that waits."""
    taken = list(queue)
    queue.clear()
    return taken


class Lane(Generic[Work]):
    """``threads`` threads that give ``serve`` what ``choose`` takes from the queue. ``serve`` must not raise."""

    def __init__(
        self, name: str, serve: Callable[[list[Work]], None], *, limit: int, threads: int = 1, choose: Choose[Work] = everything
    ) -> None:
        self.name = name
        self.limit = limit
        self._serve = serve
        self._choose = choose
        self._queue: deque[Work] = deque()
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        self._emptied = threading.Condition(self._lock)
        self._closed = False
        self._threads = [threading.Thread(target=self._work, name=f"lane-{name}-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def closed(self) -> bool:
        """Whether it takes nothing more."""
        return self._closed

    def offer(self, work: list[Work]) -> None:
        """Queues all of ``work`` or none: raises ``Overloaded`` when it does not fit."""
        with self._lock:
            if self._closed:
                raise Closed("this endpoint was replaced by another export", "ask again")
            if len(self._queue) + len(work) > self.limit:
                raise Overloaded(
                    f"{len(self._queue)} examples wait already and {len(work)} more do not fit (limit {self.limit})",
                    "try again in a second, or serve with more workers",
                )
            self._add(work)

    def push(self, work: list[Work]) -> None:
        """Queues ``work``, waiting until there is room: a slow lane slows the one before it."""
        with self._lock:
            while len(self._queue) >= self.limit and not self._closed:
                self._emptied.wait()
            self._add(work)

    def _add(self, work: list[Work]) -> None:
        self._queue.extend(work)
        self._filled.notify(min(len(work), len(self._threads)))

    def _work(self) -> None:
        while True:
            with self._lock:
                while not self._queue:
                    if self._closed:
                        return
                    self._filled.wait()
                taken = self._choose(self._queue)
                self._emptied.notify()
            self._serve(taken)

    def close(self) -> None:
        """Finishes what is queued and ends the threads."""
        with self._lock:
            self._closed = True
            self._filled.notify_all()
            self._emptied.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
