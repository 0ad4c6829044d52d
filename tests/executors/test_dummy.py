"""The executor ``dummy``: everything around a stage can be tried without one."""

from __future__ import annotations

from pathlib import Path

from luthier.core import registry
from luthier.core.events import Event, StageFinished
from luthier.core.job import Job
from luthier.core.plan import Plan
from luthier.store import files


def test_it_runs_nothing_and_says_that_it_finished(tmp_path: Path) -> None:
    job = Job(id="job", run="run", stage="export", plan=Plan(name="try", task="no-task", model="no-model"), work=str(tmp_path))
    events: list[Event] = []
    handle = registry.get("executors", "dummy").submit(job, events.append)
    assert handle.wait() == 0
    handle.cancel()
    (event,) = events
    assert isinstance(event, StageFinished)
    assert event.stage == "export"
    assert files.read_json(tmp_path / "out" / "dummy.json") == {"stage": "export", "job": "job"}
