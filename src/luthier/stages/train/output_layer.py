"""Fits the new layers of a model alone, on vectors of the training rows: before the trunk learns, or after it has learned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from luthier.core import registry
from luthier.core.plan import TrainPlan
from luthier.core.ports import Emit
from luthier.stages.inference import HIDDEN
from luthier.stages.train.request import FitRequest
from luthier.stages.train.telling import without_steps

BALANCE = ("class_weights", "loss", "focal_gamma", "resampling")
"""What a plan says of rare classes holds for the output layer alone too."""


def fit_alone(request: FitRequest, model: Any, vectors: Any, emit: Emit, effort: str = "quick") -> None:
    """Fills everything of ``model`` outside its trunk by a training of method ``head`` at ``effort``.

    ``vectors`` [rows, width]: the pooled output of the trunk for the training rows; ``None``: that of the untouched base model.
    """
    from luthier.stages.train.fit import fit

    own = request.plan.model_dump(include=set(BALANCE))
    plan = TrainPlan(method="head", **own, **registry.get("methods", "head").defaults(effort))
    items = [{key: value for key, value in item.items() if key != HIDDEN} for item in request.train]
    if vectors is not None:
        items = [{**item, HIDDEN: vector} for item, vector in zip(items, vectors, strict=True)]
    alone = replace(request, plan=plan, train=items, validation=(), judged=(), checkpoints=None, keep=None, max_steps=0, flop_per_token=0.0)
    fitted = dict(fit(alone, without_steps(emit)).model.named_parameters())
    trunk = {id(parameter) for parameter in model.trunk.parameters()}
    for name, parameter in model.named_parameters():
        if id(parameter) not in trunk:
            parameter.detach().copy_(fitted[name].detach())
