"""The train stage: reads the dataset, measures the machine, says how long it will take, trains, and writes the model's folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from luthier.core import registry
from luthier.core.errors import InputError
from luthier.core.events import NoteSaid, PredictionMade
from luthier.core.hooks import fitted, pooled_at
from luthier.core.job import Job
from luthier.core.plan import TrainPlan
from luthier.core.ports import Emit, Footprint, Task
from luthier.core.types import Example, Item, Schema
from luthier.stages import stopping
from luthier.stages.train.adapt import adapted, figures
from luthier.stages.train.kept import Kept, fill
from luthier.stages.train.request import depth_of, silent
from luthier.store import datasets, files

if TYPE_CHECKING:
    from luthier.stages.train.estimate import Estimate

LENGTH_QUANTILE = 0.995


def run(job: Job, emit: Emit) -> dict[str, Any]:
    """Trains as ``job.plan`` says; ``job.inputs``: ``dataset`` and ``base``. Returns the summary; the model is in ``work/out``.

    Raises ``InputError`` for an empty training set, ``NotPossible`` for a method that does not fit the model.
    """
    from luthier.stages.train.fit import fit

    started = time.perf_counter()
    work = Path(job.work)
    task: Task = registry.get("tasks", job.plan.task)
    base = adapted(job, task, emit)
    data = _read(task, base, Path(job.inputs["dataset"]), job.plan.train)
    request, facts = _request(job, task, base, data, emit)
    cost = _predict(request, facts, emit)
    already = time.perf_counter() - started
    emit(PredictionMade(stage="train", wall_s=round(cost.wall_s + already, 2), memory_bytes=cost.memory_bytes))
    keep = Kept(work / "kept", job, task, request, emit)
    keep.again()
    with stopping.graceful():
        result = fit(replace(request, keep=keep.take), emit)
    training = _write(work, job, task, request, result, lambda: _training(request, facts, result, cost, already, started))
    shutil.rmtree(work / "checkpoints", ignore_errors=True)
    emit(NoteSaid(text=_verdict(training), data={"prediction_error": training["prediction_error"]}))
    said = ("method", "steps", "epochs", "seconds", "predicted_s", "prediction_error", "metric", "best_metric", "mfu")
    return {key: training[key] for key in said if training[key] is not None}


def expected(job: Job, emit: Emit = silent) -> Estimate:
    """What the training of such a job would take, by a few real batches; nothing is trained."""
    task: Task = registry.get("tasks", job.plan.task)
    data = _read(task, Path(job.inputs["base"]), Path(job.inputs["dataset"]), job.plan.train)
    request, facts = _request(job, task, Path(job.inputs["base"]), data, emit)
    return _predict(request, facts, emit)


def _read(task: Task, base: Path, dataset: Path, plan: TrainPlan) -> dict[str, Any]:
    """Examples and items of training and validation, and the schema with its final ``max_tokens``."""
    train, validation = datasets.read_split(dataset, "train"), datasets.read_split(dataset, "validation")
    if not train:
        raise InputError(f"{dataset / 'train.parquet'}: there is no row to train on", "check prepare's report of refused rows")
    schema: Schema = files.read_json(dataset / "schema.json")
    schema, items = fitted_items(task, base, schema, train, plan)
    return {
        "schema": schema,
        "train": items,
        "validation": task.encode(validation, task.processor(base, schema), schema) if validation else [],
        "judged": validation,
    }


def fitted_items(task: Task, base: Path, schema: Schema, examples: Sequence[Example], plan: TrainPlan) -> tuple[Schema, list[Item]]:
    """The schema with ``max_tokens`` decided (the plan's, or the 99.5th percentile of these examples), and the encoded examples."""
    schema = fitted(task, schema, plan)
    limit = min(int(schema.get("max_tokens", 512)), model_limit(base))
    wide = {**schema, "max_tokens": min(plan.max_tokens or limit, limit)}
    items = task.encode(examples, task.processor(base, wide), wide)
    lengths = np.array([task.length(item) for item in items])
    enough = int(-(-np.quantile(lengths, LENGTH_QUANTILE) // 8) * 8)
    if plan.max_tokens:
        return wide, items
    if enough >= int(lengths.max()):
        return {**wide, "max_tokens": min(limit, max(8, enough))}, items
    short = {**schema, "max_tokens": min(limit, enough)}  # an item may hold more than one text
    return short, task.encode(examples, task.processor(base, short), short)


def model_limit(base: Path) -> int:
    """The longest input that the base model takes, in tokens (RoBERTa's positions begin behind its padding)."""
    config = files.read_json(base / "config.json")
    positions = int(config.get("max_position_embeddings") or config.get("n_positions") or 512)
    return positions - 2 if config.get("model_type") in ("roberta", "xlm-roberta", "camembert") else positions


def _request(job: Job, task: Task, base: Path, data: dict[str, Any], emit: Emit) -> tuple[Any, dict[str, Any]]:
    """What ``fit`` gets, with the machine's choices in it, and the facts that the prediction needs."""
    import torch

    from luthier.stages.train.machine import choose
    from luthier.stages.train.request import FitRequest

    work, plan = Path(job.work), job.plan.train
    method = registry.get("methods", plan.method)
    request = FitRequest(task, base, data["schema"], plan, data["train"], data["validation"], data["judged"], seed=plan.seed)
    emit(NoteSaid(text="measuring this machine with a few real batches"))
    machine = choose(request, work, job.cache)
    torch.set_num_threads(machine.threads)
    lengths = np.array([task.length(item) for item in data["train"]])
    card = files.read_json(base / "config.json") | {"tokens": float(lengths.mean()), "classes": len(data["schema"].get("labels", ())) or 2}
    footprint: Footprint = method.footprint(card, plan, plan.batch_tokens)
    emit(
        NoteSaid(
            text=f"{machine.threads} thread(s), {machine.precision} on {machine.device}: the fastest here",
            data={"peak_flops": machine.peak_flops},
        )
    )
    decided = plan.model_copy(update={"threads": machine.threads, "precision": machine.precision, "device": machine.device})
    request = replace(
        request,
        plan=decided.model_copy(update={"max_tokens": int(data["schema"]["max_tokens"])}),
        checkpoints=work / "checkpoints",
        features=Path(job.cache) / "features" if job.cache else work / "features",
        int8=machine.int8,
        precision=machine.precision,
        device=machine.device,
        peak_flops=machine.peak_flops,
        flop_per_token=footprint.flop_per_token,
    )
    trunk: Footprint = registry.get("methods", "head").footprint(card, plan, plan.batch_tokens)
    return request, {"machine": machine, "footprint": footprint, "trunk_flop_per_token": trunk.cached_flop_per_token}


def _predict(request: Any, facts: dict[str, Any], emit: Emit) -> Estimate:
    from luthier.stages.train.estimate import estimate

    depth = depth_of(request.base)
    method = registry.get("methods", request.plan.method)
    cut = method.cut(request.plan, depth) if depth else 0
    footprint: Footprint = facts["footprint"]
    return estimate(
        request,
        facts["machine"],
        cut=cut,
        pooled=pooled_at(request.task, cut, depth),
        cached=False,
        memory_bytes=footprint.memory_bytes,
        state_bytes=_state_bytes(request, footprint),
        model_bytes=(request.base / "model.safetensors").stat().st_size if (request.base / "model.safetensors").exists() else 0,
    )


def _state_bytes(request: Any, footprint: Footprint) -> float:
    """Bytes of a checkpoint: weights and two moments of what learns; of the word vectors only rows that occur."""
    from luthier.methods._shape import shape

    trained = footprint.trained_parameters
    if request.plan.method == "full":
        form = shape(files.read_json(request.base / "config.json"))
        trained = form.layers * form.layer_parameters
    return (12.0 + (4.0 if request.plan.average_share else 0.0)) * trained


def _training(request: Any, facts: dict[str, Any], result: Any, cost: Any, already_s: float, started: float) -> dict[str, Any]:
    """Everything in ``training.json``."""
    machine = facts["machine"]
    wall_s = time.perf_counter() - started
    predicted_s = already_s + _of_this_try(cost, result)
    flop = _flop(request, facts, result)
    return {
        "method": request.plan.method,
        "effort": request.plan.effort,
        "metric": result.metric,
        "best_metric": result.best_metric,
        "higher_is_better": result.higher_is_better,
        "best_step": result.best_step,
        "steps": result.steps,
        "epochs": result.epochs,
        "stopped_early": result.stopped_early,
        "rows": len(request.train),
        "tokens": result.tokens,
        "trained_parameters": result.trained_parameters,
        "cached_layers": result.cut,
        "seconds": round(result.seconds, 3),
        "features_s": round(result.features_s, 3),
        "wall_s": round(wall_s, 3),
        "predicted_s": round(predicted_s, 3),
        "prediction_error": round(wall_s / predicted_s - 1.0, 4),
        "prediction": cost.as_json(),
        "flop": flop,
        "mfu": round(flop / max(1e-9, result.seconds) / machine.peak_flops, 4),
        "tokens_per_s": round(result.tokens / max(1e-9, result.seconds - result.features_s), 1),
        "peak_flops": machine.peak_flops,
        "threads": machine.threads,
        "precision": machine.precision,
        "device": machine.device,
        "int8_features": machine.int8,
        "peak_memory_bytes": _peak_memory_bytes(),
        **figures(request.base),
    }


def _of_this_try(cost: Any, result: Any) -> float:
    """Seconds of the prediction that fall to the steps made since the last kill (all, when there was none) or until an early stop."""
    share = (result.steps - result.resumed_at) / max(1, cost.steps)
    before = 0.0 if result.resumed_at else cost.features_s
    return float(before + cost.save_s + (cost.steps_s + cost.validation_s + cost.checkpoints_s) * share)


def _flop(request: Any, facts: dict[str, Any], result: Any) -> float:
    """The steps; the cached layers, once over all rows; and for a fitted output layer the layers above, forward, over the training rows."""
    train, held = (float(sum(request.task.length(item) for item in items)) for items in (request.train, request.validation))
    cached = facts["footprint"].cached_flop_per_token
    fitted = (facts["trunk_flop_per_token"] - cached) * train if request.plan.fitted_head else 0.0
    return float(result.flop + cached * (train + held) + fitted)


def _peak_memory_bytes() -> int:
    """The most memory that this process held."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _verdict(training: dict[str, Any]) -> str:
    error = training["prediction_error"]
    times = f"took {training['wall_s']:.0f} s, predicted were {training['predicted_s']:.0f} s ({error:+.0%})"
    return f"{times}; {training['mfu']:.0%} of the machine's peak"


def _write(work: Path, job: Job, task: Task, request: Any, result: Any, training: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The model's folder, whole; ``training`` is asked last, so that its wall time holds the writing too. Returns what it says."""
    from luthier.stages.train.curves import picture

    out = work / "out"
    shutil.rmtree(out, ignore_errors=True)
    with files.folder_aside(out) as aside:
        fill(aside, job, task, request, result.model)
        files.write_json(aside / "curves.json", result.curves)
        files.write_text(aside / "curves.svg", picture(result.curves, f"{job.plan.name}: {job.plan.train.method} on {job.plan.model}"))
        said = training()
        files.write_json(aside / "training.json", said)
    return said
