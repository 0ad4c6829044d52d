"""What is judged: the task, the dataset's splits and the model's folder, read once for the stage and for each of its worker processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from luthier.core import registry
from luthier.core.errors import InputError
from luthier.core.hooks import compares
from luthier.core.job import Job
from luthier.core.plan import TrainPlan
from luthier.core.ports import Judged, Task
from luthier.core.types import Arrays, Calibration, Example, Item, Schema, Split, names_in
from luthier.core.writing import writes
from luthier.metrics.rare_f1 import rare_classes
from luthier.stages.train.adapt import adapted, asks
from luthier.store import datasets, files


@dataclass(frozen=True)
class Subject:
    """``schema`` and ``training`` (figures of the training) come from the model's folder."""

    job: Job
    task: Task
    model: Path
    base: Path
    schema: Schema
    training: dict[str, Any]
    adapted: Path | None = None

    @property
    def start(self) -> Path:
        """What the training started from: the base model, or what it was after it had read unlabelled texts."""
        return self.adapted or self.base

    @cached_property
    def train(self) -> list[Example]:
        """Training rows."""
        return self._rows("train")

    @cached_property
    def validation(self) -> list[Example]:
        """Validation rows: temperature and thresholds are fitted on these."""
        return self._rows("validation")

    @cached_property
    def test(self) -> list[Example]:
        """Test rows: the headline figures are measured on these and nothing is fitted on them."""
        return self._rows("test")

    def _rows(self, split: Split) -> list[Example]:
        """The rows of a split, all targets of one shape: a file may give a single label with brackets here and without them there."""
        several = bool(self.schema.get("multi_label"))
        rows = datasets.read_split(Path(self.job.inputs["dataset"]), split)
        targets = [_shaped(row.target, several=several) for row in rows]
        return [row if row.target is target else replace(row, target=target) for row, target in zip(rows, targets, strict=True)]

    @property
    def plan(self) -> TrainPlan:
        """The training plan, on the device and in the precision that the training used."""
        return self.job.plan.train

    @property
    def work(self) -> Path:
        """Where half-finished work is kept."""
        return Path(self.job.work)

    def items(self, examples: Sequence[Example], *, targets: bool) -> list[Item]:
        """Encoded for the model; without their targets where they must not be seen (or may be of a class that was never trained).

        A task that writes is judged on its targets too (perplexity), and writes from the prompt alone: its items keep them.
        """
        rows = list(examples) if targets or writes(self.task) else [Example(one.id, one.inputs) for one in examples]
        return self.task.encode(rows, self.processor, self.schema) if rows else []

    @cached_property
    def processor(self) -> Any:
        """What encodes."""
        return self.task.processor(self.start, self.schema)

    def answers(self, model: Any, items: Sequence[Item], *, cut: int = 0, share: int = 1) -> Arrays:
        """The model's outputs; of a task that writes also what it wrote, for ``evaluate.written_rows`` / ``share`` of the rows."""
        from luthier.stages.writing import answered

        most = max(1, self.job.plan.evaluate.written_rows // share)
        return answered(self.task, model, self.compared(items), self.processor, self.schema, most_rows=most, cut=cut)

    def compared(self, items: Sequence[Item]) -> Sequence[Item]:
        """The items with what the model that the training started from says of them, where the task asks for that; each is asked once."""
        from luthier.stages.train.reference import compared

        if not compares(self.task):
            return items
        keys = [b"|".join(item[name].tobytes() for name in sorted(item)) for item in items]
        new = [row for row, key in enumerate(keys) if key not in self._compared]
        if new:
            model = self.task.load(self.start, self.schema).eval()
            for row, item in zip(new, compared(self.task, model, [items[row] for row in new]), strict=True):
                self._compared[keys[row]] = item
        return [self._compared[key] for key in keys]

    @cached_property
    def _compared(self) -> dict[bytes, Item]:
        return {}

    def judged(self, examples: Sequence[Example], outputs: Arrays, calibration: Calibration) -> Judged:
        """The decoded answers beside their examples."""
        predictions = self.task.decode([example.id for example in examples], outputs, self.schema, calibration)
        return Judged(examples, predictions, outputs, self.schema, calibration, self.rare)

    @cached_property
    def rare(self) -> frozenset[str] | None:
        """The classes that are rare among the training rows; ``None`` where there are no classes."""
        if "labels" not in self.schema or "dataset" not in self.job.inputs:
            return None
        counts = Counter(str(name) for row in self.train for name in listed(row.target))
        return rare_classes(counts, self.job.plan.evaluate.rare_below)


def listed(target: Any) -> list[Any]:
    """A target as a list of labels: what one answer and several have in common."""
    return names_in(target) if isinstance(target, dict) else target if isinstance(target, list) else [target]


def _shaped(target: Any, *, several: bool) -> Any:
    if isinstance(target, dict):
        return target
    if several:
        return listed(target)
    return target[0] if isinstance(target, list) and len(target) == 1 else target


def read(job: Job) -> Subject:
    """The subject of a job; raises ``InputError`` without test rows and ``Damaged`` for a torn model folder."""
    model = Path(job.inputs["model"])
    training = files.read_json(model / "training.json") if (model / "training.json").exists() else {}
    task: Task = registry.get("tasks", job.plan.task)
    base = Path(job.inputs["base"])
    known = training.get("adapted", {}).get("base", "")
    start = adapted(job, task, lambda event: None, known) if asks(job.plan.train) else None
    subject = Subject(job, task, model, base, files.read_json(model / "schema.json"), training, start)
    if not datasets.count_splits(Path(job.inputs["dataset"])).get("test"):
        place = Path(job.inputs["dataset"]) / "test.parquet"
        raise InputError(f"{place}: there is no row to judge the model on", "give data.test, or set prepare.test_share above 0")
    return subject
