"""Writes the exported folder: all that serving needs, and why this graph."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core import registry
from luthier.core.job import Job
from luthier.core.ports import Task
from luthier.stages.export import choose, parity
from luthier.stages.export.choose import Candidate
from luthier.stages.export.latency import Latency
from luthier.stages.export.rows import Rows, every_nth
from luthier.stages.serve.engine import cores
from luthier.stages.serve.reservoir import label_of
from luthier.store import files

REFERENCE = "reference.npz"
REFERENCE_ROWS = 500


def write(
    job: Job,
    task: Task,
    rows: Rows,
    trained: parity.Reference,
    results: Sequence[Candidate],
    chosen: Candidate,
    baseline: Sequence[Latency],
) -> dict[str, Any]:
    """Fills ``work/out`` whole; returns the stage's summary."""
    out = Path(job.work) / "out"
    if out.exists():
        shutil.rmtree(out)
    facts = _facts(job, task, trained, results, chosen, baseline)
    with files.folder_aside(out) as aside:
        for path in sorted(chosen.folder.iterdir()):
            shutil.copyfile(path, aside / path.name)
        _copy(job, aside)
        _write_reference(task, rows, chosen, aside)
        files.write_json(aside / "export.json", facts)
        files.write_json(aside / "plan.json", job.plan.model_dump(mode="json"))
    return {
        "runtime": chosen.runtime,
        "why": facts["why"],
        "size_mb": round(sum(path.stat().st_size for path in out.iterdir()) / 1e6, 1),
        "label_change": chosen.parity.label_change,
        "metric_loss": chosen.parity.metric_loss,
        "latency_ms": facts["latency"][chosen.runtime][0]["p50_ms"],
        "torch_latency_ms": facts["latency"]["torch"][0]["p50_ms"],
    }


def _facts(
    job: Job,
    task: Task,
    trained: parity.Reference,
    results: Sequence[Candidate],
    chosen: Candidate,
    baseline: Sequence[Latency],
) -> dict[str, Any]:
    return {
        "task": task.name,
        "runtime": chosen.runtime,
        "graph": "model",
        "threads": 1,
        "why": choose.why(results, chosen, job.plan.export),
        "parents": job.parents,
        "trained": {"metric": trained.metric, "value": trained.value},
        "parity": {one.runtime: one.parity.as_json() for one in results},
        "latency": {one.runtime: [row.as_json() for row in one.latency] for one in results}
        | {"torch": [row.as_json() for row in baseline]},
        "made_with": {name: version(name) for name in ("torch", "transformers", "onnxruntime")} | {"machine": platform.machine()},
    }


def _copy(job: Job, out: Path) -> None:
    model, dataset = Path(job.inputs["model"]), Path(job.inputs["dataset"])
    wanted = [model / "tokenizer.json", model / "schema.json", dataset / "profile.json"]
    if job.inputs.get("evaluation"):
        evaluation = Path(job.inputs["evaluation"])
        wanted += [evaluation / "calibration.json", *sorted(evaluation.glob("reference.*"))]
    for path in wanted:
        if path.is_file():
            shutil.copyfile(path, out / path.name)


def _write_reference(task: Task, rows: Rows, chosen: Candidate, out: Path) -> None:
    """What the deployed graph itself answers on rows that it did not learn from: what watch compares live answers with.

    The same graph as served, so that quantisation is not taken for drift. ``embedding`` [n,H] float16, and one value a row each of
    ``confidence``, ``out_of_scope``, ``tokens`` and ``label``.
    """
    session = registry.get("runtimes", chosen.runtime).open(out, "model", threads=cores())
    held = every_nth(rows.held, REFERENCE_ROWS)
    outputs = parity.run_items(task, session, held)
    said = task.decode([str(n) for n in range(len(held))], outputs, rows.schema, rows.calibration)
    vectors = outputs.get("embedding", np.zeros((len(said), 0)))
    with files.written_aside(out / REFERENCE) as aside, aside.open("wb") as handle:
        np.savez(
            handle,
            embedding=vectors.astype(np.float16),
            confidence=np.array([one.confidence for one in said], np.float32),
            out_of_scope=np.array([one.out_of_scope for one in said], np.float32),
            tokens=np.array([task.length(item) for item in held], np.int32),
            label=np.array([label_of(one.output) for one in said], np.str_),
        )
