"""Makes each runtime's graph once; whole ones that an earlier try left in the work folder are used again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from luthier.core import registry
from luthier.core.errors import MissingExtra, NotPossible
from luthier.core.events import NoteSaid
from luthier.core.job import Job
from luthier.core.ports import Emit, Task
from luthier.stages.export.rows import Rows
from luthier.store import files


def convert(job: Job, task: Task, model: Any, rows: Rows, emit: Emit) -> dict[str, Path]:
    """Runtime name -> folder with its graphs. Runtimes that are not installed are named in a note and left out."""
    root = Path(job.work) / "graphs"
    files.sweep(root) if root.exists() else None
    made: dict[str, Path] = {}
    wanted = [name for name in job.plan.export.runtimes if _usable(name, emit)]
    if not wanted:
        raise MissingExtra("none of the runtimes " + ", ".join(job.plan.export.runtimes), "serve")
    # The fp32 graph is what the others are made from, and what shows that the conversion itself is right.
    for name in ["onnx", *(one for one in wanted if one != "onnx")]:
        made[name] = root / name
        if not made[name].exists():
            start = time.perf_counter()
            _make(name, task, model, rows, root)
            emit(NoteSaid(text=f"export: {name} graph made in {time.perf_counter() - start:.1f} s"))
    return made


def _usable(name: str, emit: Emit) -> bool:
    reason: str = registry.get("runtimes", name).missing()
    if reason:
        emit(NoteSaid(level="warning", text=f"export: {name} is left out: {reason}"))
    return not reason


def _make(name: str, task: Task, model: Any, rows: Rows, root: Path) -> None:
    samples = rows.samples(task)
    graphs = task.graphs(model, _traceable(task, rows))
    if len(graphs) != 1:
        raise NotPossible(f"export: {task.name} has {len(graphs)} graphs; one is supported", "give the task one graph")
    with files.folder_aside(root / name) as aside:
        registry.get("runtimes", name).convert(graphs, root / "onnx", aside, samples)


def _traceable(task: Task, rows: Rows) -> Any:
    """Two rows of different lengths: with one row, or one token, the tracer would take the size for a constant."""
    ordered = sorted(rows.items, key=task.length)
    return task.collate([ordered[len(ordered) // 2], ordered[-1]])
