"""The prepare stage: from files to a checked, masked, deduplicated and split dataset, with a report and a profile of it.

Two passes in bounded memory: rows are read, checked and masked into a spool on the disk; then duplicates and splits are decided from a few
numbers a row, and the spool is cut into Parquet files.
"""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from luthier.core.job import Job
from luthier.core.plan import Plan
from luthier.core.ports import Emit
from luthier.core.types import Refusal

__all__ = ["preview", "run"]


def run(job: Job, emit: Emit) -> dict[str, Any]:
    """Writes the dataset into ``work/out``; returns ``{rows, refused, masked, duplicates, splits, labels, ...}``.

    Raises ``InputError`` for data that cannot be used and ``GateRefused`` for too many refused rows or a leaking test set.
    """
    from luthier.stages.prepare.pipeline import Preparation
    from luthier.store import files

    work = Path(job.work)
    out, scratch = work / "out", work / "spool"
    for folder in (out, scratch):
        # Leftovers of a killed try: the stage is deterministic, so it starts afresh.
        shutil.rmtree(folder, ignore_errors=True)
    with files.space_errors(work):
        try:
            out.mkdir(parents=True)
            return Preparation(job, emit, out, scratch).run()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def preview(plan: Plan, limit: int = 1000) -> dict[str, Any]:
    """The dry run: reads and masks the first ``limit`` rows of each source (0: all), writes nothing, and says what was found.

    ``{limit, rows, refused, masked: {kind: n}, exact_duplicates, labels: {label: n}, files: [...], refusals: [20],
    examples: [3 masked texts]}``.
    """
    from luthier.core import registry
    from luthier.stages.prepare.masking import Masker
    from luthier.stages.prepare.reading import Reader
    from luthier.stages.prepare.sources import find_sources
    from luthier.stages.prepare.spool import labels_of

    task, masker = registry.get("tasks", plan.task), Masker(plan.prepare)
    refusals: list[Refusal] = []
    labels: Counter[str] = Counter()
    seen: set[str] = set()
    examples: list[str] = []
    rows = 0
    reader = Reader(plan, task, masker, refusals.append, lambda event: None)
    for source in find_sources(plan.data, [one.name for one in task.columns]):
        for read in itertools.islice(reader.read(source), limit or None):
            rows += 1
            seen.add(read.example.id)
            labels.update(labels_of(read.example.target, task.stratum(read.example)))
            if len(examples) < 3:
                examples.append(task.text(read.example)[:300])
    return {
        "limit": limit,
        "rows": sum(fact.rows for fact in reader.facts),
        "refused": len(refusals),
        "masked": dict(sorted(masker.counts.items())),
        "exact_duplicates": rows - len(seen),
        "labels": dict(labels.most_common()),
        "files": [asdict(fact) for fact in reader.facts],
        "refusals": [asdict(refusal) for refusal in refusals[:20]],
        "examples": examples,
    }
