"""How long an answer takes: each runtime at batch 1 and 32, with 1 and 2 threads, on evaluation rows of typical length."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core import registry
from luthier.core.plan import ExportPlan
from luthier.core.ports import Task
from luthier.core.types import Arrays
from luthier.stages.export.rows import Rows
from luthier.stages.serve.engine import cores

BATCHES = (1, 32)
LEAST = 3
"""Timed calls at the least, however slow they are."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds a batch, and examples a second."""

    threads: int
    batch: int
    tokens: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    per_s: float

    def as_json(self) -> dict[str, Any]:
        """As it stands in ``export.json``."""
        return {key: round(value, 3) if isinstance(value, float) else value for key, value in asdict(self).items()}


def thread_counts() -> tuple[int, ...]:
    """1, and 2 where there are two cores."""
    return (1, 2) if cores() >= 2 else (1,)


def measure(task: Task, runtime: str, folder: Path, rows: Rows, plan: ExportPlan) -> list[Latency]:
    """A runtime's graph."""
    found = []
    for threads in thread_counts():
        session = registry.get("runtimes", runtime).open(folder, "model", threads=threads)
        found += _both(task, session.run, rows, threads, plan)
    return found


def measure_model(task: Task, model: Any, rows: Rows, plan: ExportPlan) -> list[Latency]:
    """The trained torch module itself, for comparison; call it in ``torch.inference_mode``.

    With one thread only: its threads spin while they wait, and a second one beside any busy process makes it tens of times slower.
    """
    import torch

    def call(batch: Arrays) -> Any:
        return model(**{name: torch.as_tensor(value) for name, value in batch.items()})

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _both(task, call, rows, 1, plan)
    finally:
        torch.set_num_threads(before)


def _both(task: Task, call: Callable[[Arrays], Any], rows: Rows, threads: int, plan: ExportPlan) -> list[Latency]:
    seconds = plan.latency_seconds / len(thread_counts())
    return [_time(call, typical(task, rows, batch), threads, batch, seconds) for batch in BATCHES]


def typical(task: Task, rows: Rows, batch: int) -> Arrays:
    """A batch of the rows nearest to the median length (repeated when there are too few)."""
    ordered = sorted(rows.items, key=task.length)
    middle = max(0, len(ordered) // 2 - batch // 2)
    near = ordered[middle : middle + batch]
    return task.collate([near[n % len(near)] for n in range(batch)])


def _time(call: Callable[[Arrays], Any], batch: Arrays, threads: int, size: int, seconds: float) -> Latency:
    call(batch)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < LEAST or time.perf_counter() < end:
        start = time.perf_counter()
        call(batch)
        times.append(time.perf_counter() - start)
    p50, p95, p99 = np.percentile(np.array(times) * 1e3, [50, 95, 99])
    tokens = int(next(iter(batch.values())).shape[1])
    return Latency(threads, size, tokens, float(p50), float(p95), float(p99), size * len(times) / sum(times))
