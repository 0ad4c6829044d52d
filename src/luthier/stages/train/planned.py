"""The course that a request asks for: every item once an epoch, rare classes repeated, or batches as the method's objective wants them."""

from __future__ import annotations

from typing import Any

from luthier.core import registry
from luthier.core.ports import Objective
from luthier.stages.train.batches import Course, course
from luthier.stages.train.request import FitRequest
from luthier.stages.train.resampling import resampling, strata


def objective_of(request: FitRequest) -> Objective | None:
    """What the method teaches the trunk instead of the task's loss; ``None`` for most methods."""
    method = registry.get("methods", request.plan.method)
    found: Objective | None = method.objective(request.plan) if hasattr(method, "objective") else None
    return found


def planned(request: FitRequest, lengths: Any) -> Course:
    """Every batch of the training. ``lengths`` [items]: positions that each item fills. An objective deals its batches itself: what the
    plan says of rare classes then holds for the output layer only.
    """
    plan, objective = request.plan, objective_of(request)
    drawn = resampling(request.task, request.train, request.schema, plan, request.seed)
    batched = None
    if objective is not None:
        of_items = strata(request.task, request.train, request.schema, f"train.method={plan.method}")
        batched = lambda epoch: objective.batches(of_items, lengths, plan, request.seed, epoch)  # noqa: E731
    return course(lengths, plan.batch_tokens, request.seed, plan.epochs, request.max_steps, plan.batch_rows, drawn, batched)
