"""Models that are opened when somebody asks for them: a bounded number, the one not asked for longest gives way."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from luthier.core.errors import Overloaded

if TYPE_CHECKING:
    from luthier.stages.serve.host import Deployed, Hosted

MOST = 4
"""Models of one workspace that are open on demand at a time; each holds its weights in memory."""


@dataclass
class Held:
    """One model that is open, or being opened. ``busy``: calls that use it now; ``retired``: closed once nobody does."""

    info: Deployed
    hosted: Hosted | None = None
    busy: int = 0
    used_at: float = 0.0
    retired: bool = False
    opening: threading.Lock = field(default_factory=threading.Lock)


class OnDemand:
    """``hold`` and ``release`` may be called from any thread; ``hold`` blocks while a model is opened, others go on meanwhile."""

    def __init__(self, opened: Callable[[Deployed], Hosted], most: int = MOST) -> None:
        self.most = most
        self._opened = opened
        self._held: dict[str, Held] = {}
        self._lock = threading.Lock()

    def hold(self, info: Deployed) -> Held:
        """The model, open and not to be closed before ``release``. Raises ``Overloaded`` when every place is taken by a busy one."""
        with self._lock:
            held, spare = self._place(info)
            held.busy += 1
            held.used_at = time.monotonic()
        for one in spare:
            _close(one)
        try:
            with held.opening:
                if held.hosted is None:
                    held.hosted = self._opened(info)
        except BaseException:
            with self._lock:
                held.busy -= 1
                if held.busy == 0 and self._held.get(info.name) is held:
                    del self._held[info.name]
            raise
        return held

    def hold_open(self, name: str, export_id: str = "") -> Held | None:
        """The model if it is open already (with this export, where one is named): never blocks."""
        with self._lock:
            held = self._held.get(name)
            if held is None or held.hosted is None or (export_id and held.info.export_id != export_id):
                return None
            held.busy += 1
            held.used_at = time.monotonic()
            return held

    def release(self, held: Held) -> None:
        """The call is over."""
        with self._lock:
            held.busy -= 1
            over = held.retired and held.busy == 0
        if over:
            _close(held)

    @contextlib.contextmanager
    def holding(self, info: Deployed) -> Iterator[Hosted]:
        """``hold`` and ``release`` around a block."""
        held = self.hold(info)
        try:
            assert held.hosted is not None
            yield held.hosted
        finally:
            self.release(held)

    def _place(self, info: Deployed) -> tuple[Held, list[Held]]:
        """The model's place, and what is to be closed for it."""
        spare: list[Held] = []
        found = self._held.get(info.name)
        if found is not None and found.info.export_id == info.export_id:
            return found, spare
        if found is not None:
            del self._held[info.name]
            spare += self._retired(found)
        while len(self._held) >= self.most:
            idle = [held for held in self._held.values() if held.busy == 0]
            if not idle:
                raise Overloaded(f"{self.most} other models are being asked just now, which is the most at a time", "try again in a second")
            oldest = min(idle, key=lambda held: held.used_at)
            del self._held[oldest.info.name]
            spare += self._retired(oldest)
        self._held[info.name] = Held(info)
        return self._held[info.name], spare

    @staticmethod
    def _retired(held: Held) -> list[Held]:
        held.retired = True
        return [held] if held.busy == 0 else []

    def names(self) -> list[str]:
        """What is open now, the longest unused first."""
        with self._lock:
            return [held.info.name for held in sorted(self._held.values(), key=lambda held: held.used_at)]

    def close(self) -> None:
        """Answers what is queued, then ends."""
        with self._lock:
            every = list(self._held.values())
            self._held.clear()
        for held in every:
            _close(held)


def _close(held: Held) -> None:
    with held.opening:
        if held.hosted is not None:
            held.hosted.endpoint.close()
