"""The rows that export compares, times and quantises with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from luthier.core.job import Job
from luthier.core.ports import Task
from luthier.core.types import Arrays, Calibration, Example, Item, Schema
from luthier.store import datasets, files

SAMPLES = 300
"""Validation rows that static quantisation measures its ranges on."""


class Rows(NamedTuple):
    """``examples`` and ``items``: evaluation rows (test, else validation). ``held``: validation items, for ranges and drift."""

    examples: list[Example]
    items: list[Item]
    held: list[Item]
    schema: Schema
    calibration: Calibration

    def samples(self, task: Task, size: int = 8) -> list[Arrays]:
        """Batches of held-out rows, in order of length so that padding is small."""
        ordered = sorted(self.held[:SAMPLES], key=task.length)
        return [task.collate(ordered[start : start + size]) for start in range(0, len(ordered), size)]


def read_rows(job: Job, task: Task, schema: Schema, processor: Any) -> Rows:
    """At most ``plan.export.rows`` evaluation rows and as many validation rows."""
    source, most = Path(job.inputs["dataset"]), job.plan.export.rows
    held = list(islice(datasets.stream_split(source, "validation"), most))
    examples = list(islice(datasets.stream_split(source, "test"), most)) or held
    held = held or examples
    calibrated = Path(job.inputs.get("evaluation", "")) / "calibration.json"
    calibration = files.read_json(calibrated) if job.inputs.get("evaluation") and calibrated.exists() else {}
    return Rows(
        examples, _unlabelled(task, examples, processor, schema), _unlabelled(task, held, processor, schema), schema, calibration
    )


def _unlabelled(task: Task, examples: Sequence[Example], processor: Any, schema: Schema) -> list[Item]:
    """Encoded without their targets: serving has none, and a label unseen in training must not stop an export."""
    bare = [Example(id=one.id, inputs=one.inputs) for one in examples]
    return task.encode(bare, processor, schema)
