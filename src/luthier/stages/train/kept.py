"""Model folders: the final one, and those of the way (a model as it was at the end of an epoch, or when training was stopped)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from luthier.core.chat_template import TOKENIZER_FILES
from luthier.core.events import CheckpointKept
from luthier.core.job import Job
from luthier.core.ports import Emit, Task
from luthier.store import files

FIGURES = "figures.json"


def fill(folder: Path, job: Job, task: Task, request: Any, model: Any) -> None:
    """Writes what every model folder holds: weights, tokenizer, schema and plan."""
    plan = job.plan.model_copy(update={"train": request.plan, "notes": [], "estimates": {}})
    task.save(model, folder)
    for name in TOKENIZER_FILES:
        if (request.base / name).exists():
            shutil.copyfile(request.base / name, folder / name)
    files.write_json(folder / "schema.json", request.schema)
    files.write_json(folder / "plan.json", plan.model_dump(mode="json"))


class Kept:
    """The models of the way: each a folder ``step-00000120`` that appears whole. Whoever is told of one may move it away."""

    def __init__(self, folder: Path, job: Job, task: Task, request: Any, emit: Emit) -> None:
        self.folder = folder
        self._made_of = (job, task, request)
        self.emit = emit

    def again(self) -> None:
        """Tells of those that an earlier try left, which nobody moved away."""
        files.sweep(self.folder)
        for place in sorted(self.folder.glob("step-*")):
            figures = files.read_json(place / FIGURES)
            self.emit(CheckpointKept(step=int(place.name.removeprefix("step-")), path=str(place), figures=figures))

    def take(self, step: int, model: Any, figures: dict[str, float]) -> None:
        """Writes a model, unless the one of that step is there already, and tells of it."""
        place = self.folder / f"step-{step:08d}"
        if not place.exists():
            with files.folder_aside(place) as aside:
                fill(aside, *self._made_of, model)
                files.write_json(aside / FIGURES, figures)
        self.emit(CheckpointKept(step=step, path=str(place), figures=figures))
