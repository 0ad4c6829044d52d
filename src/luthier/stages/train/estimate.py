"""How long a training will take and how much memory it needs, from counted work and the machine's measured speed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from luthier.core.hooks import compares
from luthier.stages.inference import lengths_of
from luthier.stages.train.machine import Machine
from luthier.stages.train.planned import objective_of, planned
from luthier.stages.train.request import FitRequest

SAVE_S = 0.1
"""Pictures, JSON and copying the tokenizer."""
FITTED_HEAD_ROW_S = 2e-4
"""Seconds a row of fitting the output layer alone for 20 epochs (77 classes, 384 dimensions, two cores): small beside the rest."""


@dataclass(frozen=True)
class Estimate:
    """Seconds by part, whole steps and bytes."""

    steps: int
    features_s: float
    steps_s: float
    validation_s: float
    checkpoints_s: float
    save_s: float
    memory_bytes: float

    @property
    def wall_s(self) -> float:
        """Seconds from the end of the micro-benchmark to the finished model."""
        return self.features_s + self.steps_s + self.validation_s + self.checkpoints_s + self.save_s

    def as_json(self) -> dict[str, Any]:
        """All parts and their sum."""
        return asdict(self) | {"wall_s": self.wall_s}


def estimate(
    request: FitRequest,
    machine: Machine,
    *,
    cut: int,
    pooled: bool,
    cached: bool,
    memory_bytes: float,
    state_bytes: float,
    model_bytes: float,
) -> Estimate:
    """``cached``: the features are on the disk already; ``state_bytes``, ``model_bytes``: of one checkpoint and of the saved model."""
    plan = request.plan
    lengths = lengths_of(request.task, request.train, pooled=pooled)
    course = planned(request, lengths)
    first = course.batches(0)
    positions = float(np.mean([len(numbers) * int(lengths[numbers].max()) for numbers in first]))
    steps_s = course.steps * (machine.step_s + positions * machine.token_s)
    validated = float(lengths_of(request.task, request.validation, pooled=pooled).sum()) * (len(course.ends) + 1)
    tokens = lengths_of(request.task, [*request.train, *request.validation]).sum() if cut and not cached else 0
    features_s = float(tokens) * machine.feature_token_s
    if plan.fitted_head and not pooled:
        each = machine.answer_token_s if cut else machine.feature_token_s
        features_s += float(lengths_of(request.task, request.train).sum()) * each + len(request.train) * FITTED_HEAD_ROW_S + machine.load_s
    if compares(request.task):
        features_s += float(lengths_of(request.task, [*request.train, *request.validation]).sum()) * machine.answer_token_s
    validation_s = validated * machine.answer_token_s
    if objective_of(request) is not None:  # the output layer is fitted anew for each validation
        each = float(lengths.sum()) * machine.answer_token_s + len(request.train) * FITTED_HEAD_ROW_S + machine.load_s
        validation_s += each * (len(course.ends) if len(request.validation) else 1)
    writes = (steps_s + validation_s) / plan.checkpoint_s + 0.3 * len(course.ends)
    return Estimate(
        steps=course.steps,
        features_s=features_s,
        steps_s=steps_s,
        validation_s=validation_s,
        checkpoints_s=writes * state_bytes / machine.write_bytes_s,
        save_s=SAVE_S + machine.load_s + model_bytes / machine.write_bytes_s,
        memory_bytes=memory_bytes,
    )
