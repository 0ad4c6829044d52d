"""One process at a time: the other is told who holds it, and a killed holder lets go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from luthier.core.errors import Conflict
from luthier.store.locks import locked

HOLD = """
import sys, time
from pathlib import Path
from luthier.store.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """A process that holds the lock until its standard input closes."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_holder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "new" / ".lock"
    process = holder(path)
    start = time.monotonic()
    with pytest.raises(Conflict) as caught, locked(path, what="train of run reviews"):
        pytest.fail("held twice")
    assert time.monotonic() - start < 5, "without wait_s nobody waits"
    assert str(caught.value) == f"train of run reviews: another process ({process.pid}) is working on it"
    assert "LUTHIER_HOME" in caught.value.hint
    with pytest.raises(Conflict, match=str(path)), locked(path):
        pytest.fail("held twice")
    process.communicate()
    with locked(path):
        assert path.read_text() == str(os.getpid())


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    process = holder(path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with locked(path):
        assert path.read_text() == str(os.getpid())


def test_waiting_gets_the_lock_when_it_is_free(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    process = holder(path)
    timer = threading.Timer(0.2, process.kill)
    timer.start()
    start = time.monotonic()
    with locked(path, wait_s=20):
        assert 0.1 < time.monotonic() - start < 15
    timer.join()
    process.communicate()


def test_waiting_ends(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    process = holder(path)
    start = time.monotonic()
    with pytest.raises(Conflict), locked(path, wait_s=0.2):
        pytest.fail("held twice")
    assert 0.2 <= time.monotonic() - start < 15
    process.communicate()


def test_threads_of_one_process_exclude_each_other_too(tmp_path: Path) -> None:
    with locked(tmp_path / ".lock"):
        with pytest.raises(Conflict, match=str(os.getpid())), locked(tmp_path / ".lock"):
            pytest.fail("held twice")
        with locked(tmp_path / "other.lock"):
            pass


def test_a_failure_inside_lets_go(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(KeyError), locked(tmp_path / ".lock"):
            raise KeyError
    with locked(tmp_path / ".lock"):
        pass
