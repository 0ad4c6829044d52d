"""The rows that export compares, times and quantises with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from luthier.core.job import Job
from luthier.core.ports import Task
from luthier.core.types import Arrays, Calibration, Example, Item, Schema, Split
from luthier.store import datasets, files

T = TypeVar("T")
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
        ordered = sorted(every_nth(self.held, SAMPLES), key=task.length)
        return [task.collate(ordered[start : start + size]) for start in range(0, len(ordered), size)]


def read_rows(job: Job, task: Task, schema: Schema, processor: Any) -> Rows:
    """At most ``plan.export.rows`` evaluation rows and as many validation rows."""
    source, most = Path(job.inputs["dataset"]), job.plan.export.rows
    held = _some(source, "validation", most)
    examples = _some(source, "test", most) or held
    held = held or examples
    calibrated = Path(job.inputs.get("evaluation", "")) / "calibration.json"
    calibration = files.read_json(calibrated) if job.inputs.get("evaluation") and calibrated.exists() else {}
    return Rows(examples, _unlabelled(task, examples, processor, schema), _unlabelled(task, held, processor, schema), schema, calibration)


def every_nth(rows: Sequence[T], most: int) -> list[T]:
    """At most ``most`` of the rows, evenly spaced: files are often sorted by class, so that the first rows would be of one class."""
    return [rows[number] for number in _spaced(len(rows), most)]


def _spaced(count: int, most: int) -> list[int]:
    """Row numbers, rising, the first of them 0."""
    kept = min(count, most)
    return [number * count // kept for number in range(kept)]


def _some(source: Path, split: Split, most: int) -> list[Example]:
    """The same of a split's file, read as a stream."""
    wanted = set(_spaced(datasets.count_splits(source).get(split, 0), most))
    return [example for number, example in enumerate(datasets.stream_split(source, split)) if number in wanted]


def _unlabelled(task: Task, examples: Sequence[Example], processor: Any, schema: Schema) -> list[Item]:
    """Encoded without their targets: serving has none, and a label unseen in training must not stop an export."""
    bare = [Example(id=one.id, inputs=one.inputs) for one in examples]
    return task.encode(bare, processor, schema)
