"""export: graphs that answer like the trained model, measured; the fastest that loses nothing that matters is kept, or nothing is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from luthier.core import registry
from luthier.core.errors import Damaged, GateRefused
from luthier.core.events import NoteSaid, StageProgressed
from luthier.core.job import Job
from luthier.core.ports import Emit
from luthier.core.writing import writes
from luthier.stages.export import choose, folder, graphs, latency, parity, writing
from luthier.stages.export.rows import read_rows
from luthier.store import files


def run(job: Job, emit: Emit) -> dict[str, Any]:
    """Writes the exported folder into ``work/out``; raises ``GateRefused`` when no graph answers like the model.

    Converted graphs are kept whole in ``work``: a killed export goes on with them.
    """
    import torch

    task = registry.get("tasks", job.plan.task)
    if writes(task):
        return writing.run(job, emit)
    source = Path(job.inputs["model"])
    schema = files.read_json(source / "schema.json")
    says = _Progress(emit, len(job.plan.export.runtimes) + 2)
    model = task.load(source, schema).eval()
    rows = read_rows(job, task, schema, task.processor(source, schema))
    if not rows.items:
        raise Damaged(f"{job.inputs['dataset']}: there are no evaluation rows to compare answers on", "run prepare again")
    reference = parity.reference(task, model, rows)
    says("compare rows", 1)
    made = graphs.convert(job, task, model, rows, emit)
    says("convert", 1)
    results: list[choose.Candidate] = []
    for name, where in made.items():
        found = parity.compare(task, name, where, rows, reference)
        if name == "onnx":
            _same_function(found, job.plan.export.max_logit_difference)
        results.append(choose.Candidate(name, where, found, latency.measure(task, name, where, rows, job.plan.export)))
        says(name, 1)
    with torch.inference_mode():
        baseline = latency.measure_model(task, model, rows, job.plan.export)
    chosen = choose.choose(results, job.plan.export)
    for line in choose.explain(results, chosen):
        emit(NoteSaid(text=line))
    return folder.write(job, task, rows, reference, results, chosen, baseline)


def _same_function(found: parity.Parity, tolerance: float) -> None:
    """The fp32 graph must compute the trained function: a larger difference means that the conversion is wrong."""
    if found.logit_difference > tolerance:
        raise GateRefused(
            f"export: the fp32 graph differs from the trained model by {found.logit_difference:.2g} in a logit on {found.rows} rows; "
            f"the most is {tolerance:.2g} (export.max_logit_difference)",
            "the conversion is wrong for this model: report it, with the model's architecture",
        )


class _Progress:
    """Says how many of the stage's steps are done, and how long the rest will take."""

    def __init__(self, emit: Emit, total: int) -> None:
        self.emit, self.total, self.done, self.start = emit, total, 0, time.perf_counter()

    def __call__(self, phase: str, steps: int) -> None:
        self.done = min(self.done + steps, self.total)
        left = (time.perf_counter() - self.start) / self.done * (self.total - self.done)
        self.emit(StageProgressed(stage="export", phase=phase, done=self.done, total=self.total, unit="step", left_s=left))
