"""Stopping a stage in good order: SIGTERM ends it at once, or, while it trains, at the end of the step, with a checkpoint."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

_ASKED = threading.Event()
_GRACEFUL = threading.Event()
ENDED = 143
"""The exit code of a process that SIGTERM ended (128 + 15)."""


def listen() -> None:
    """From now on SIGTERM is heeded as this module says. Call it in the main thread of a stage's process."""
    signal.signal(signal.SIGTERM, _told)


def _told(_signal: int, _frame: Any) -> None:
    _ASKED.set()
    if not _GRACEFUL.is_set():
        os._exit(ENDED)


@contextlib.contextmanager
def graceful() -> Iterator[None]:
    """While the block runs, the work looks at ``asked`` by itself and ends in good order; before and after it SIGTERM ends at once."""
    _GRACEFUL.set()
    try:
        yield
    finally:
        _GRACEFUL.clear()
        if _ASKED.is_set():
            late = threading.Timer(GRACE_S, os._exit, (ENDED,))
            late.daemon = True
            late.start()


GRACE_S = 20.0
"""Seconds that what comes after the graceful part (writing what was made) may still take."""


def asked() -> bool:
    """Whether somebody asked this process to stop."""
    return _ASKED.is_set()
