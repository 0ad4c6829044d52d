"""evaluate: how good a model is, what fine-tuning bought, how sure that is, and whether it may be deployed; ``run`` is the stage."""

from __future__ import annotations

from typing import Any

from luthier.core.job import Job
from luthier.core.ports import Emit


def run(job: Job, emit: Emit) -> dict[str, Any]:
    """Judges ``job.inputs['model']`` on the dataset's test split; see ``docs/evaluate.md`` for the files it writes. Returns the summary."""
    from luthier.stages.evaluate.stage import run as work

    return work(job, emit)
