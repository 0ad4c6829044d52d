"""Locks between processes that a killed holder always lets go of (``flock``)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from luthier.core.errors import Conflict


@contextlib.contextmanager
def locked(path: Path, *, wait_s: float = 0.0, what: str = "") -> Iterator[None]:
    """Holds the lock file ``path``; raises ``Conflict`` that names the holder's process when it is not free within ``wait_s``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + wait_s
    with path.open("a+") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise _conflict(path, what) from None
                time.sleep(0.05)
        handle.seek(0)
        handle.truncate()
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def _conflict(path: Path, what: str) -> Conflict:
    holder = path.read_text().strip() or "unknown"
    return Conflict(
        f"{what or path}: another process ({holder}) is working on it", "wait until it ends, or give this run another name or LUTHIER_HOME"
    )
