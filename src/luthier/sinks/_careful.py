"""A sink that never fails a run: what goes wrong in it is said once, and the run goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable

from luthier.core.events import Event

LOG = logging.getLogger("luthier.sinks")
PATIENCE = 3
"""Failures in a row after which a sink is told nothing more: a server that is away costs time at each try."""


class Careful:
    """Hands events on to ``take`` and survives its errors. ``say`` is told the first one, as a sentence (by default the log is)."""

    def __init__(self, name: str, take: Callable[[Event], None], say: Callable[[str], None] = LOG.warning) -> None:
        self.name = name
        self.say = say
        self._take = take
        self._left = PATIENCE
        self._said = False

    def __call__(self, event: Event) -> None:
        """Hands one event on."""
        if self._left <= 0:
            return
        try:
            self._take(event)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run must go on
            self._left -= 1
            self._tell(error)
        else:
            self._left = PATIENCE

    def _tell(self, error: Exception) -> None:
        LOG.debug("sink %s failed", self.name, exc_info=error)
        if not self._said:
            self._said = True
            words = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            self.say(f"sink {self.name}: {type(error).__name__}: {words}; the run goes on, what {self.name} shows of it is not whole")
