"""Runs one job anywhere: ``python -m luthier.stages job.json``. Events go to standard output as JSON lines; exit code 0 or 1.

The process ends when its parent does (standard input closes), so a killed server leaves nothing running.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from luthier.core.errors import LuthierError, NoSpace
from luthier.core.events import Event, StageFailed, StageFinished
from luthier.core.job import Job
from luthier.stages import stopping
from luthier.stages.parent import end_with_parent
from luthier.stages.train.threads import environment
from luthier.store import files
from luthier.store.locks import locked

DONE = "done.json"
"""Written into the work folder when ``out`` is whole; holds the stage's summary."""


def main(path: str) -> int:
    """Runs the job in the file; returns the exit code."""
    events = _take_standard_output()
    lock = threading.Lock()

    def emit(event: Event) -> None:
        with lock:
            events.write(json.dumps(event.as_json(), ensure_ascii=False) + "\n")
            events.flush()

    stopping.listen()
    job = Job.model_validate_json(Path(path).read_text(encoding="utf-8"))
    os.environ.update(environment(job.plan))
    start = time.time()
    try:
        with locked(Path(job.work) / ".lock", wait_s=20, what=f"{job.stage} of run {job.run}"):
            summary = run(job, emit)
    except Exception as error:  # noqa: BLE001 - whatever went wrong must reach the other side as JSON
        emit(StageFailed(stage=job.stage, error=describe(error)))
        return 1
    emit(StageFinished(stage=job.stage, seconds=time.time() - start, summary=summary))
    return 0


def run(job: Job, emit: Any) -> dict[str, Any]:
    """The stage's work, or what is left of it; ``out`` and ``done.json`` are in the work folder afterwards."""
    done = Path(job.work) / DONE
    if done.exists():
        summary: dict[str, Any] = files.read_json(done)
        return summary
    files.sweep(Path(job.work))
    stage = importlib.import_module(f"luthier.stages.{job.stage}")
    summary = stage.run(job, emit)
    files.write_json(done, summary)
    return summary


def describe(error: Exception) -> dict[str, Any]:
    """An error in the one JSON shape; a defect of ours carries its traceback."""
    if isinstance(error, LuthierError):
        return error.as_json()
    if files.disk_full(error):
        place = getattr(error, "filename", None) or "a file"
        return NoSpace(f"{place}: the disk is full", "free some space and start the same command again").as_json()
    if isinstance(error, MemoryError):
        return {"code": "not_possible", "message": "the memory is full", "hint": "lower train.batch_tokens or choose a smaller model"}
    trace = "".join(traceback.format_exception(error))
    message = f"{type(error).__name__}: {error}"
    return {"code": "error", "message": message, "hint": "this is a defect of Luthier; please report it", "trace": trace}


def _take_standard_output() -> Any:
    """The real standard output for events alone; prints of libraries go to standard error."""
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    if not sys.stdin.isatty() and os.environ.get("LUTHIER_PARENT"):
        end_with_parent()
    return ours


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
