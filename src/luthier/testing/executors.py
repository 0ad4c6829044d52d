"""What every executor promises: it refuses in words, and a job that it takes ends with one event that says how."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from luthier.core.events import Event, StageFailed, StageFinished
from luthier.core.job import Job
from luthier.core.ports import Executor, Handle
from luthier.testing import made
from luthier.testing.claim import checks, ensure
from luthier.testing.shape import check_shape


@checks
def check_executor(plugin: Any, *jobs: Job, timeout_s: float = 120.0) -> None:
    """``jobs``: small ones to submit; by default one whose work is done already. A job that is refused is not submitted."""
    check_shape(plugin, Executor)
    for job in jobs or (made.job(made.folder()),):
        why = plugin.refuses(job)
        ensure(isinstance(why, str), f"{plugin.name}: refuses gives {why!r}, not a text")
        if not why:
            _check_job(plugin, job, timeout_s)


def _check_job(plugin: Any, job: Job, timeout_s: float) -> None:
    before, events, codes = job.model_copy(deep=True), list[Event](), list[Any]()
    handle = plugin.submit(job, events.append)
    check_shape(handle, Handle)
    waiting = threading.Thread(target=lambda: codes.append(handle.wait()), daemon=True)
    waiting.start()
    waiting.join(timeout_s)
    if not codes:
        handle.cancel()
        raise AssertionError(f"{plugin.name}: the job has not ended after {timeout_s:g} s (it was cancelled), or wait raised")
    ensure(isinstance(codes[0], int), f"{plugin.name}: wait gives {codes[0]!r}, not an exit code")
    ensure(all(isinstance(event, Event) for event in events), f"{plugin.name}: something that is no event came back")
    ends = [event for event in events if isinstance(event, StageFinished | StageFailed)]
    said = [event.name for event in events]
    ensure(len(ends) == 1, f"{plugin.name}: {len(ends)} events say that the stage ended when wait returns, not one: {said}")
    ensure(ends[0].stage == job.stage, f"{plugin.name}: the end is of stage {ends[0].stage!r}, not {job.stage!r}")
    finished = isinstance(ends[0], StageFinished)
    ensure((codes[0] == 0) == finished, f"{plugin.name}: the exit code is {codes[0]}, but the event is {ends[0].name}")
    ensure(finished, f"{plugin.name}: a job that has nothing left to do failed: {getattr(ends[0], 'error', '')}")
    ensure((Path(job.work) / "done.json").is_file(), f"{plugin.name}: the work folder holds no done.json")
    ensure(job == before, f"{plugin.name}: submit changes the job")
    ensure(handle.wait() == codes[0], f"{plugin.name}: wait gives another code the second time")
    handle.cancel()
