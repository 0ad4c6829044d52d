"""Rows are taken from the whole of a file: one that is sorted by class must not give rows of one class only."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from luthier.core.job import Job
from luthier.core.plan import Plan
from luthier.core.types import Example
from luthier.stages.export import folder
from luthier.stages.export.rows import SAMPLES, Rows, every_nth, read_rows
from luthier.store import datasets

TASK: Any = SimpleNamespace(
    encode=lambda examples, *_: [int(one.id) for one in examples], length=lambda item: item, collate=lambda items: list(items)
)


@pytest.mark.parametrize(("count", "most"), [(0, 5), (3, 5), (5, 5), (7, 5), (1000, 7), (1001, 1000)])
def test_evenly_spaced_and_no_row_twice(count: int, most: int) -> None:
    found = every_nth(range(count), most)
    assert len(found) == len(set(found)) == min(count, most)
    assert found == sorted(found)
    gaps = {after - before for before, after in pairwise(found)}
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_every_class_of_a_sorted_file_is_compared(tmp_path: Path) -> None:
    for split in ("validation", "test"):
        rows = [Example(str(n), {"text": "t"}, f"class {n // 100}") for n in range(1000)]
        datasets.write_split(tmp_path, split, rows)  # type: ignore[arg-type]
    plan = Plan(name="n", task="text-classification", model="m")
    plan.export.rows = 50
    job = Job(id="j", run="r", stage="export", plan=plan, inputs={"dataset": str(tmp_path)}, work="w")
    found = read_rows(job, TASK, {}, None)
    assert Counter(one.target for one in found.examples) == {f"class {n}": 5 for n in range(10)}
    assert len(found.held) == len(found.items) == 50


def test_samples_and_reference_are_spread_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = list(range(3000))
    rows: Any = Rows([], [], held, {}, {})  # type: ignore[arg-type]
    samples = [item for batch in rows.samples(TASK) for item in batch]
    assert len(samples) == SAMPLES
    assert max(samples) > 2900
    seen: list[int] = []

    def run_items(task: Any, session: Any, items: Any) -> Any:
        seen.extend(items)
        raise InterruptedError

    monkeypatch.setattr(folder.parity, "run_items", run_items)
    monkeypatch.setattr(folder.registry, "get", lambda room, name: SimpleNamespace(open=lambda *_, **__: None))
    with pytest.raises(InterruptedError):
        folder._write_reference(TASK, rows, SimpleNamespace(runtime="onnx"), tmp_path)  # type: ignore[arg-type]
    assert len(seen) == folder.REFERENCE_ROWS
    assert max(seen) > 2900
