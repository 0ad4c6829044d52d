"""Runs a job as a process on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import IO, Any

from luthier.core.errors import KILLED, OUT_OF_MEMORY
from luthier.core.events import Event, NoteSaid, StageFailed, read_event
from luthier.core.job import Job
from luthier.core.ports import Emit
from luthier.store import files

CANCEL_S = 30.0
"""Seconds that a stage may take to end in good order."""


class Process:
    """A stage process. It holds a pipe to us: when we die, the pipe closes and it ends too."""

    def __init__(self, process: subprocess.Popen[str], emit: Emit, stage: str) -> None:
        self.process = process
        self._stage = stage
        self._killed_for_memory = killed_for_memory()
        self._said: deque[str] = deque(maxlen=40)
        self._ended_with_word = False
        self._broken: Exception | None = None
        self._readers = [
            threading.Thread(target=self._read_events, args=(process.stdout, emit), daemon=True),
            threading.Thread(target=self._read_errors, args=(process.stderr,), daemon=True),
        ]
        self._emit = emit
        for reader in self._readers:
            reader.start()

    def _read_events(self, stream: IO[str], emit: Emit) -> None:
        for line in stream:
            event: Event
            try:
                event = read_event(json.loads(line))
            except (ValueError, KeyError, TypeError):
                event = NoteSaid(text=line.rstrip()[:2000])
            self._ended_with_word |= event.name in ("stage.failed", "stage.finished")
            try:
                emit(event)
            except Exception as error:  # noqa: BLE001 - who does not listen must not stop the stage: its pipe is read on
                self._broken = self._broken or error

    def _read_errors(self, stream: IO[str]) -> None:
        for line in stream:
            self._said.append(line.rstrip())

    def wait(self) -> int:
        """Exit code; a process that ended without a word (killed, out of memory) is reported as failed."""
        code = self.process.wait()
        for reader in self._readers:
            reader.join(timeout=10)
        if self._broken is not None:
            raise self._broken
        if not self._ended_with_word:
            self._emit(StageFailed(stage=self._stage, error=_silent_end(code, list(self._said), self._killed_for_memory)))
        return code

    def cancel(self) -> None:
        """SIGTERM, which lets a training end its step and write a checkpoint; SIGKILL when that takes too long."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            self.process.wait(timeout=CANCEL_S)
        except subprocess.TimeoutExpired:
            self.process.kill()


def _environment(job: Job) -> dict[str, str]:
    """Ours, with the one card that is this job's: libraries then see no other one."""
    card = {"CUDA_VISIBLE_DEVICES": job.card} if job.card else {}
    return {**os.environ, "LUTHIER_PARENT": str(os.getpid()), "TOKENIZERS_PARALLELISM": "false", **card}


def killed_for_memory(counters: Path = Path("/proc/vmstat")) -> int | None:
    """How many processes the kernel has killed for memory since it started (``oom_kill``), ``None`` where it does not say."""
    try:
        lines = counters.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)


def _silent_end(code: int, said: list[str], before: int | None) -> dict[str, Any]:
    """The error of a process that ended without a word; ``before``: the kernel's kills for memory when it started."""
    if code >= 0:
        return {"code": "job_failed", "message": f"the stage process ended with code {code}: " + " | ".join(said[-5:]), "hint": ""}
    hint, cause = "start the same command again: it goes on where it was", KILLED
    if code == -signal.SIGKILL and (before is None or before != killed_for_memory()):
        hint, cause = "the machine may have run out of memory; " + hint, OUT_OF_MEMORY
    return {
        "code": "job_failed",
        "cause_code": cause,
        "message": f"the stage process was ended by {signal.Signals(-code).name}",
        "hint": hint,
    }


class Local:
    """See the module."""

    name = "local"
    summary = "a process on this machine"

    def refuses(self, job: Job) -> str:
        """Nothing."""
        return ""

    def submit(self, job: Job, emit: Emit) -> Process:
        """Starts ``python -m luthier.stages job.json``."""
        path = Path(job.work) / "job.json"
        files.write_text(path, job.model_dump_json(indent=1))
        process = subprocess.Popen(
            [sys.executable, "-m", "luthier.stages", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=_environment(job),
            start_new_session=True,
        )
        return Process(process, emit, job.stage)


plugin = Local()
