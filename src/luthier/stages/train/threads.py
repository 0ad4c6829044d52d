"""How many threads a worker process may use, and how they wait, decided before torch is imported (so nothing heavy is imported here)."""

from __future__ import annotations

import os
from pathlib import Path

from luthier.core.plan import Plan

SPINS = 2000
"""Turns that an OpenMP thread spins for its next piece of work before it sleeps; see ``bench/contention.py`` and ``docs/train.md``.

Endless spinning (the default) makes two threads up to 20 times slower when another process wants one of the two cores.
"""


def cores() -> int:
    """Processor cores that this process may use (affinity and container quota)."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return max(1, min(here, _quota(here)))


def _quota(otherwise: int) -> int:
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()[:2]
        return otherwise if limit == "max" else max(1, round(int(limit) / int(period)))
    except (OSError, ValueError):
        return otherwise


def environment(plan: Plan) -> dict[str, str]:
    """Variables for a stage's process: OpenMP's threads and waiting, no network for model libraries, no tokenizer threads beside ours.

    A GPU's memory grows in place, since batches of many lengths would leave it full of holes.
    """
    threads = str(plan.train.threads or cores())
    return {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OMP_DYNAMIC": "FALSE",
        "GOMP_SPINCOUNT": str(SPINS),
        "PYTORCH_CUDA_ALLOC_CONF": os.environ.get("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True"),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
