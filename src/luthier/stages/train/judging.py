"""The one number that chooses the best checkpoint: a registered metric on the validation set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from luthier.core import registry
from luthier.core.errors import SpecError, UnknownName
from luthier.core.hooks import validation_metric
from luthier.core.ports import Judged, Task
from luthier.core.types import Arrays, Example, Schema, Score
from luthier.stages.inference import HIDDEN, predict
from luthier.stages.train.reference import compared
from luthier.stages.train.request import FitRequest


def check(request: FitRequest, model: Any, cut: int) -> None:
    """Judges one validation row, so that an unknown ``train.metric`` is said (``SpecError``) before an epoch has been trained."""
    if not request.plan.metric or not request.validation or not request.judged:
        return
    (item,) = compared(request.task, model, request.validation[:1])
    outputs = predict(request.task, model, [item], cut=cut if HIDDEN in item else 0)
    try:
        judge(request.task, request.judged[:1], outputs, request.schema, request.plan.metric)
    except UnknownName as error:
        raise SpecError("train.metric", error.message, error.hint) from None


def judge(task: Task, examples: Sequence[Example], outputs: Arrays, schema: Schema, wanted: str = "") -> Score:
    """The score named ``wanted`` (or the one that chooses checkpoints) over ``examples`` and the model's ``outputs``, uncalibrated."""
    name = wanted or validation_metric(task)
    predictions = task.decode([example.id for example in examples], outputs, schema, {})
    judged = Judged(examples, predictions, outputs, schema, {})
    known: list[str] = []
    rooms = [name] if name in registry.names("metrics") else list(task.metrics)
    for metric in rooms:
        scores: list[Score] = registry.get("metrics", metric).compute(judged)
        for score in scores:
            if score.name == name or (metric == name and score is scores[0]):
                return score
        known += [score.name for score in scores]
    raise UnknownName.among("metric", name, known)
