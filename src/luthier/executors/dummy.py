"""An executor that runs nothing: it writes an empty result, so that everything around stages can be tried in milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from luthier.core.events import StageFinished
from luthier.core.job import Job
from luthier.core.ports import Emit
from luthier.store import files

MADE: dict[str, dict[str, Any]] = {
    "train": {"curves.json": {"steps": [], "epochs": []}, "training.json": {"tokens": 0}},
    "evaluate": {"evaluation.json": {"primary_metric": "", "scores": {}, "rows": {}}},
}
"""What later steps read of a stage's result: nothing was trained, so nothing was measured."""


class Nothing:
    """A job that is over."""

    def wait(self) -> int:
        """0."""
        return 0

    def cancel(self) -> None:
        """Nothing to end."""


class Dummy:
    """See the module."""

    name = "dummy"
    summary = "runs nothing; for trying what is around a stage"
    pretends = True

    def refuses(self, job: Job) -> str:
        """Nothing."""
        return ""

    def submit(self, job: Job, emit: Emit) -> Nothing:
        """Writes ``out/dummy.json`` and says that the stage finished."""
        files.write_json(Path(job.work) / "out" / "dummy.json", {"stage": job.stage, "job": job.id})
        for name, content in MADE.get(job.stage, {}).items():
            files.write_json(Path(job.work) / "out" / name, content)
        files.write_json(Path(job.work) / "done.json", {"dummy": True})
        emit(StageFinished(stage=job.stage, seconds=0.0, summary={"dummy": True}))
        return Nothing()


plugin = Dummy()
