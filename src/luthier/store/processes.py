"""Who a process is, so that others can tell whether it still runs: also those on other machines that share a folder or a database.

Names of machines may be equal and numbers of processes come again, so a process is known by the start of its machine, what it can see
of other processes (its container), its number and when it was started. Of a process elsewhere nothing is known: it is judged by time.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

_MARK = re.compile(r"([0-9a-f]{12})-(\d+)-(\d+)")


class Mark(NamedTuple):
    """A process: ``machine`` as of ``machine()``, its number there, and when it was started by that machine's count."""

    machine: str
    pid: int
    started: int

    def __str__(self) -> str:
        return f"{self.machine}-{self.pid}-{self.started}"


@cache
def machine() -> str:
    """12 hex digits of this machine since it was started, and of this container: equal for processes that see each other."""
    parts = [socket.gethostname()]
    try:
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip(), os.readlink("/proc/self/ns/pid")]
    except OSError:  # no Linux: the address of the network card, else chance, and then every other process is one of elsewhere
        import uuid

        parts.append(f"{uuid.getnode():x}")
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=6).hexdigest()


def mark() -> Mark:
    """This process."""
    return _mark(os.getpid())


@lru_cache(maxsize=4)
def _mark(pid: int) -> Mark:
    return Mark(machine(), pid, _started(pid) or 0)


def read(text: str) -> Mark | None:
    """The mark that a text begins with; none when there is none."""
    found = _MARK.match(text)
    return Mark(found[1], int(found[2]), int(found[3])) if found else None


def gone(process: Mark) -> bool:
    """Whether it is a process of this machine that runs no more. Of other machines this is not known: then it is not gone."""
    return process.machine == machine() and _started(process.pid) not in (process.started, None)


def _started(pid: int) -> int | None:
    """When a process was started: ticks since the machine was (a clock that is set does not move them). -1: no such process (any more);
    none: it is there and cannot be looked at."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return -1 if state in "ZX" else int(fields[18])
    except (OSError, ValueError, IndexError):
        return _looked_at(pid)


def _looked_at(pid: int) -> int | None:
    """The same where there is no ``/proc``, or where it hides other people's processes."""
    import psutil

    try:
        process = psutil.Process(pid)
        return -1 if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time())
    except psutil.NoSuchProcess:
        return None if _exists(pid) else -1
    except psutil.Error:
        return None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
