"""The executor ``local``: events come back, a stage that dies says how, and no stage outlives the process that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from luthier.core import registry
from luthier.core.errors import KILLED, OUT_OF_MEMORY
from luthier.core.events import Event, NoteSaid, StageFailed, StageFinished, StageProgressed
from luthier.core.job import Job
from luthier.core.plan import DataPlan, Plan
from luthier.executors import local
from luthier.executors.local import _silent_end
from luthier.store import files
from luthier.store.locks import locked

LOCAL: Any = registry.get("executors", "local")
STARTER = """
import sys
from pathlib import Path
from luthier.core import registry
from luthier.core.job import Job
job = Job.model_validate_json(Path(sys.argv[1]).read_text())
handle = registry.get("executors", "local").submit(job, lambda event: print(event.name, flush=True))
print("pid", handle.process.pid, flush=True)
handle.wait()
"""


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def _job(tmp_path: Path, **data: Any) -> Job:
    work = tmp_path / "work"
    work.mkdir()
    plan = Plan(name="try", task="text-classification", model="all-minilm-l6-v2", data=DataPlan(**data))
    return Job(id="job", run="run", stage="prepare", plan=plan, work=str(work))


def _long(tmp_path: Path) -> Job:
    """A job that takes a minute, if nobody ends it."""
    return _job(tmp_path, train=["made:support-messages"], rows=20_000)


def _wait_until(true: Any, what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_jobs_events_come_back_and_its_result_lies_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "messages.csv").write_text("text,label\n" + "".join(f"message {n} of {n % 2},{n % 2}\n" for n in range(20)))
    job = _job(tmp_path, train=[str(tmp_path / "messages.csv")])
    assert LOCAL.refuses(job) == ""
    events: list[Event] = []
    assert LOCAL.submit(job, events.append).wait() == 0
    assert any(isinstance(event, StageProgressed) and event.stage == "prepare" for event in events)
    last = events[-1]
    assert isinstance(last, StageFinished)
    assert last.summary["rows"] == 20
    assert files.read_json(Path(job.work) / "done.json") == last.summary
    assert (Path(job.work) / "out" / "train.parquet").is_file()
    assert Job.model_validate_json((Path(job.work) / "job.json").read_text()) == job


def test_a_stages_own_error_comes_back_whole(tmp_path: Path) -> None:
    (tmp_path / "messages.csv").write_text("body,mood\nhello,good\n")
    events: list[Event] = []
    assert LOCAL.submit(_job(tmp_path, train=[str(tmp_path / "messages.csv")]), events.append).wait() == 1
    last = events[-1]
    assert isinstance(last, StageFailed)
    assert last.error["code"] == "invalid_input"
    assert "messages.csv" in last.error["message"]
    assert "--map" in last.error["hint"]


def test_a_killed_stage_is_reported_with_a_hint(tmp_path: Path) -> None:
    job, events = _long(tmp_path), list[Event]()
    handle = LOCAL.submit(job, events.append)
    _wait_until(lambda: (Path(job.work) / "spool").exists(), "the stage did not begin")
    os.kill(handle.process.pid, signal.SIGKILL)
    assert handle.wait() == -signal.SIGKILL
    (failed,) = [event for event in events if isinstance(event, StageFailed)]
    assert failed is events[-1]
    assert failed.stage == "prepare"
    assert failed.error["code"] == "job_failed"
    assert "SIGKILL" in failed.error["message"]
    assert "start the same command again" in failed.error["hint"]


def test_a_kill_is_one_for_memory_when_the_kernel_says_so_or_nobody_can_tell(tmp_path: Path, monkeypatch: Any) -> None:
    counters = tmp_path / "vmstat"
    counters.write_text("nr_free_pages 17\noom_kill 4\n")
    assert (local.killed_for_memory(counters), local.killed_for_memory(tmp_path / "none")) == (4, None)
    for before, after, cause in ((4, 4, KILLED), (4, 5, OUT_OF_MEMORY), (None, None, OUT_OF_MEMORY)):
        monkeypatch.setattr(local, "killed_for_memory", lambda after=after: after)
        error = local._silent_end(-signal.SIGKILL, [], before)
        assert error["cause_code"] == cause
        assert ("memory" in error["hint"]) == (cause == OUT_OF_MEMORY)
    assert local._silent_end(-signal.SIGTERM, [], None)["cause_code"] == KILLED


def test_a_stage_that_ends_without_a_word_is_reported_with_its_last_lines(tmp_path: Path) -> None:
    job, events = _job(tmp_path), list[Event]()
    assert LOCAL.submit(job.model_copy(update={"stage": "no_such_stage"}), events.append).wait() == 1
    (failed,) = [event for event in events if isinstance(event, StageFailed)]
    assert "ended with code 1" in failed.error["message"]
    assert "no_such_stage" in failed.error["message"]


def test_a_signal_without_a_remedy_for_memory_does_not_speak_of_it() -> None:
    assert "memory" not in _silent_end(-signal.SIGTERM, [], 0)["hint"]
    assert "SIGTERM" in _silent_end(-signal.SIGTERM, [], 0)["message"]
    assert _silent_end(3, ["a", "b"], 0)["message"].endswith("code 3: a | b")


def test_a_cancelled_stage_is_gone(tmp_path: Path) -> None:
    job, events = _long(tmp_path), list[Event]()
    handle = LOCAL.submit(job, events.append)
    _wait_until(lambda: (Path(job.work) / "spool").exists(), "the stage did not begin")
    handle.cancel()
    assert not _runs(handle.process.pid)
    handle.cancel()
    assert not (Path(job.work) / "done.json").exists()


def test_a_stage_ends_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    """Also one that says nothing, and so does not notice that nobody reads it: this one waits 20 s for its folder's lock."""
    job = _long(tmp_path)
    (tmp_path / "given.json").write_text(job.model_dump_json())
    lock = Path(job.work) / ".lock"
    with locked(lock):
        command = [sys.executable, "-c", STARTER, str(tmp_path / "given.json")]
        starter = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert starter.stdout is not None
        child = int(next(line for line in starter.stdout if line.startswith("pid ")).split()[1])
        _wait_until(lambda: str(lock) in [file.path for file in psutil.Process(child).open_files()], "the stage did not begin")
        starter.kill()
        starter.wait()
        starter.stdout.close()
        _wait_until(lambda: not _runs(child), "the stage outlived its parent", seconds=8)


def test_what_a_stage_prints_that_is_no_event_becomes_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event of a newer version, or a stray line, is shown and breaks nothing."""
    script = tmp_path / "python"
    script.write_text('#!/bin/sh\necho "not JSON"\necho \'{"event": "moon.risen"}\'\nexit 0\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    events: list[Event] = []
    LOCAL.submit(_job(tmp_path), events.append).wait()
    assert [event.text for event in events if isinstance(event, NoteSaid)] == ["not JSON", '{"event": "moon.risen"}']
    assert isinstance(events[-1], StageFailed)


@pytest.mark.parametrize(("operator", "card", "sees"), [(None, "", None), ("2,3", "", "2,3"), (None, "1", "1"), ("2,3", "3", "3")])
def test_a_stage_sees_the_card_that_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operator: str | None, card: str, sees: str | None
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if operator is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", operator)
    code = "import os; print('sees', os.environ.get('CUDA_VISIBLE_DEVICES'))"
    monkeypatch.setattr("luthier.executors.local.sys.executable", _python(tmp_path, code))
    events: list[Event] = []
    LOCAL.submit(_job(tmp_path).model_copy(update={"card": card}), events.append).wait()
    assert [event.text for event in events if isinstance(event, NoteSaid)] == [f"sees {sees}"]


def _python(folder: Path, code: str) -> str:
    """A program that does this, whatever it is asked for."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}"\n')
    path.chmod(0o755)
    return str(path)


def test_who_does_not_listen_does_not_stop_the_stage(tmp_path: Path) -> None:
    def broken(event: Event) -> None:
        raise OSError("the journal is away")

    job = _job(tmp_path, train=["made:support-messages"], rows=120)
    with pytest.raises(OSError, match="the journal is away"):
        LOCAL.submit(job, broken).wait()
    assert (Path(job.work) / "done.json").exists()
