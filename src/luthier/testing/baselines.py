"""What every baseline promises: it answers the test rows without their targets, the same each time, and says what it cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core import registry
from luthier.core.errors import NotPossible
from luthier.core.plan import EvaluatePlan, TrainPlan
from luthier.core.ports import Baseline, BaselineContext, BaselineResult, Task
from luthier.core.types import Arrays, Example, Place, Schema
from luthier.core.writing import WRITTEN, as_arrays, writes
from luthier.testing import made
from luthier.testing.claim import checks, ensure
from luthier.testing.shape import check_shape

WRITERS = ("summarization", "image-captioning")


@checks
def check_baseline(plugin: Any, base: Path = Path()) -> None:
    """``base``: the folder of a model for text classification; by default a small one is made. A baseline that refuses that task is checked
    on those that write.
    """
    check_shape(plugin, Baseline)
    task = registry.get("tasks", "text-classification")
    for several in (False, True):
        rows = made.examples(36, several=several), made.examples(12, several=several, seed=2)
        schema = made.schema(several=several)
        context = _context(task, schema, base if base != Path() else made.base())
        try:
            plugin.run(*rows, context)
        except NotPossible:
            break
        _check_answers(plugin, context, *rows)
    else:
        return
    for name in WRITERS:
        task = registry.get("tasks", name)
        train, test = ([task.example(row, Place("made.csv", n)) for n, row in enumerate(made.rows(n, seed=n))] for n in (36, 12))
        context = _context(task, task.schema([one.target for one in train]), made.base(architecture=task.architectures[0]))
        try:
            plugin.run(train, test, context)
        except NotPossible as error:
            refused = error
            continue
        _check_answers(plugin, context, train, test)
        return
    ensure(False, f"{plugin.name}: refuses every kind of task: {refused}")


def _context(task: Task, schema: Schema, base: Path) -> BaselineContext:
    return BaselineContext(task, schema, base, TrainPlan(), EvaluatePlan(), _fit, made.folder(), steps=2, answers=_answers, model=base)


def _answers(model: Any, test: Sequence[Example]) -> Arrays:
    """Stands in for what a model writes."""
    return as_arrays(["made" for _ in test])


def _fit(train: Sequence[Example], test: Sequence[Example], **settings: Any) -> BaselineResult:
    """Stands in for the train stage's ``fit``: learns nothing, in no time."""
    return BaselineResult({"logits": np.zeros((len(test), len(made.LABELS)), dtype=np.float32)}, 0.0, 0.0, float(len(train)))


def _check_answers(plugin: Any, context: BaselineContext, train: Sequence[Example], test: Sequence[Example]) -> None:
    bare = [replace(one, target=None) for one in test]
    try:
        result = plugin.run(train, bare, context)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise AssertionError(f"{plugin.name}: failed on test rows without targets (does it read them?): {said}") from error
    ensure(isinstance(result, BaselineResult), f"{plugin.name}: run gave a {type(result).__name__}, not a BaselineResult")
    name = WRITTEN if writes(context.task) else "logits"
    ensure(name in result.outputs, f"{plugin.name}: outputs must hold {name}, not {sorted(result.outputs)}")
    logits = np.asarray(result.outputs[name])
    if not writes(context.task):
        shape = (len(test), len(context.schema["labels"]))
        ensure(logits.shape == shape, f"{plugin.name}: logits are {list(logits.shape)}, not [rows, classes] = {list(shape)}")
    ensure(len(logits) == len(test), f"{plugin.name}: there are {len(logits)} answers for {len(test)} rows")
    ensure(bool(np.isfinite(logits).all()), f"{plugin.name}: {name} holds NaN or infinity")
    for cost in ("train_s", "predict_s", "train_flop"):
        value = getattr(result, cost)
        ensure(math.isfinite(value) and value >= 0, f"{plugin.name}: {cost} is {value}")
    again = np.asarray(plugin.run(train, bare, context).outputs[name])
    ensure(bool(np.allclose(logits, again, atol=1e-6)), f"{plugin.name}: the same rows are answered differently the second time")
    wrong = [replace(one, target=train[0].target) for one in test]
    peeked = np.asarray(plugin.run(train, wrong, context).outputs[name])
    ensure(bool(np.allclose(logits, peeked, atol=1e-6)), f"{plugin.name}: the answers change with the test targets: it looks at them")
