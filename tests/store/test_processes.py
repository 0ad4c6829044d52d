"""A process is known for what it is: by its machine since that was started, its container, its number and its own start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from luthier.store import processes
from luthier.store.processes import Mark


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def fresh() -> Iterator[None]:
    """``machine()`` is asked for anew, and again afterwards."""
    processes.machine.cache_clear()
    yield
    processes.machine.cache_clear()


def test_a_process_says_of_itself_what_others_see() -> None:
    code = "from luthier.store import processes; print(processes.mark()); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        said = processes.read(other.stdout.readline())
        assert said == Mark(processes.machine(), other.pid, processes._started(other.pid) or 0)
        assert not processes.gone(said)
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert processes.gone(said), "a zombie"
    assert processes.gone(said)


def test_a_stopped_process_is_not_gone(sleeper: subprocess.Popen[bytes]) -> None:
    mark = Mark(processes.machine(), sleeper.pid, processes._started(sleeper.pid) or 0)
    sleeper.send_signal(signal.SIGSTOP)
    assert not processes.gone(mark)
    sleeper.send_signal(signal.SIGCONT)


def test_a_number_that_came_again_is_another_process(sleeper: subprocess.Popen[bytes]) -> None:
    started = processes._started(sleeper.pid) or 0
    assert processes.gone(Mark(processes.machine(), sleeper.pid, started - 1))
    assert not processes.gone(Mark("0" * 12, sleeper.pid, started - 1)), "of another machine nothing is known"


@pytest.mark.usefixtures("fresh")
def test_a_machine_of_the_same_name_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    here = processes.machine()
    for name in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        assert os.path.lexists(name)
    monkeypatch.setattr(processes.os, "readlink", lambda path: "pid:[1]")
    processes.machine.cache_clear()
    container = processes.machine()
    monkeypatch.undo()
    monkeypatch.setattr(processes.Path, "read_text", lambda self, **_: "another-start")
    processes.machine.cache_clear()
    assert len({here, container, processes.machine()}) == 3
    monkeypatch.undo()
    monkeypatch.setattr(socket, "gethostname", lambda: "a-clone")
    processes.machine.cache_clear()
    assert processes.machine() != here


@pytest.mark.usefixtures("fresh")
def test_without_proc_it_is_the_network_card(monkeypatch: pytest.MonkeyPatch, sleeper: subprocess.Popen[bytes]) -> None:
    def none(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(processes.Path, "read_text", none)
    first = processes.machine()
    processes.machine.cache_clear()
    assert processes.machine() == first
    started = processes._started(sleeper.pid)
    assert started is not None
    assert started > 1_600_000_000, "psutil's: seconds since 1970"
    sleeper.kill()
    sleeper.wait()
    assert processes._started(sleeper.pid) == -1


@pytest.mark.parametrize("text", ["", "12-3", "0123456789ab-1", "0123456789AB-1-1", "4194304-0123abcd-model"])
def test_what_is_no_mark(text: str) -> None:
    assert processes.read(text) is None


def test_a_mark_is_read_as_it_was_written() -> None:
    assert processes.read(f"{processes.mark()}-0123abcd-model") == processes.mark()
