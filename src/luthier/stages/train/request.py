"""What a training is asked to do and what comes of it; the model made ready for it; and how its chance follows from seed and step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from luthier.core import registry
from luthier.core.errors import NotPossible
from luthier.core.plan import TrainPlan
from luthier.core.ports import Task
from luthier.core.types import Arrays, Example, Item, Schema
from luthier.store import files

Keep: TypeAlias = Callable[[int, Any, dict[str, float]], None]
"""Takes (step, model, figures of the validation)."""


def silent(event: Any) -> None:
    """Says nothing."""


@dataclass(frozen=True)
class FitRequest:
    """What to train, on what, and how.

    ``train``/``validation``: encoded items (with cached lower parts under ``hidden`` from ``FeatureCache.attach``, or without: then they
    are computed here).
    ``judged``: the validation items' examples, for the metric; without them (or without validation) the last weights are kept.
    ``checkpoints``: a folder that survives; ``None``: nothing is written. ``max_steps``: stop there (0: as the plan says).
    ``keep``: called with the model as it is (merged, a copy) at the end of each of the last ``plan.keep_checkpoints`` epochs and when it
    is asked to stop. ``precision``: fp32 or bf16. ``peak_flops``: of this machine, for MFU (0: not reported). ``flop_per_token``: of
    this training.
    """

    task: Task
    base: Path
    schema: Schema
    plan: TrainPlan
    train: Sequence[Item]
    validation: Sequence[Item] = ()
    judged: Sequence[Example] = ()
    seed: int = 17
    pretrained: bool = True
    checkpoints: Path | None = None
    features: Path | None = None
    int8: bool = False
    max_steps: int = 0
    precision: str = "fp32"
    device: str = "cpu"
    peak_flops: float = 0.0
    flop_per_token: float = 0.0
    seconds_ahead: float = 0.0
    keep: Keep | None = None


@dataclass
class FitResult:
    """What came of it. ``model`` is merged and in eval mode, with the best weights; ``validation_outputs`` are its answers on the
    validation items.

    ``best_metric``: of the weights kept, as measured (``None`` without validation). ``seconds`` counts training, validation and caches
    over all tries; ``tokens`` are those trained on (without padding); ``flop`` the counted work. ``resumed_at``: the step that this try
    went on from.
    """

    model: Any
    validation_outputs: Arrays
    best_metric: float | None
    best_step: int
    metric: str
    steps: int
    epochs: float
    seconds: float
    features_s: float
    flop: float
    tokens: int
    curves: dict[str, list[dict[str, float]]]
    trained_parameters: int
    cut: int
    stopped_early: bool = False
    resumed_at: int = 0
    higher_is_better: bool = True


def prepare_model(request: FitRequest) -> Any:
    """The task's model on its device, with the method applied."""
    import torch

    torch.manual_seed(request.seed)
    plan = request.plan
    model = request.task.load(request.base, request.schema, dropout=plan.dropout, pretrained=request.pretrained, seed=request.seed)
    torch.manual_seed(request.seed)
    model = registry.get("methods", plan.method).apply(model, plan).to(request.device)
    if plan.gradient_checkpointing:
        recompute(model)
    return model


def recompute(model: Any) -> None:
    """Of each layer only the input is kept for the backward pass (Chen et al. 2016, arXiv 1604.06174). Raises ``NotPossible``."""
    try:
        model.trunk.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    except (AttributeError, ValueError):
        name = type(model.trunk).__name__
        raise NotPossible(
            f"train.gradient_checkpointing: {name} cannot compute its layers again",
            "leave it out; train.accumulation or a smaller train.batch_tokens need less memory too",
        ) from None


def depth_of(base: Path) -> int:
    """How many layers a base model has, by whichever name its configuration gives them; 0 when it says nothing."""
    config = files.read_json(base / "config.json")
    return next((int(config[name]) for name in ("num_hidden_layers", "n_layers", "n_layer") if config.get(name)), 0)


def step_seed(seed: int, step: int) -> int:
    """The seed of one step's dropout."""
    return (seed * 1_000_003 + step * 7_919 + 12_345) & 0x7FFFFFFF


def autocast(request: FitRequest) -> Any:
    """The block in which the forward pass runs in the request's precision."""
    import torch

    return torch.autocast(request.device.split(":")[0], torch.bfloat16, enabled=request.precision == "bf16")
