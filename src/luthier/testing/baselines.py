"""What every baseline promises: it answers the test rows without their targets, the same each time, and says what it cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core import registry
from luthier.core.plan import EvaluatePlan, TrainPlan
from luthier.core.ports import Baseline, BaselineContext, BaselineResult
from luthier.core.types import Example
from luthier.testing import made
from luthier.testing.claim import checks, ensure
from luthier.testing.shape import check_shape


@checks
def check_baseline(plugin: Any, base: Path = Path()) -> None:
    """``base``: the folder of a model for text classification; by default a small one is made."""
    check_shape(plugin, Baseline)
    for several in (False, True):
        _check_answers(plugin, _context(base if base != Path() else made.base(), several), several)


def _context(base: Path, several: bool) -> BaselineContext:
    task = registry.get("tasks", "text-classification")
    return BaselineContext(task, made.schema(several=several), base, TrainPlan(), EvaluatePlan(), _fit, made.folder(), steps=2)


def _fit(train: Sequence[Example], test: Sequence[Example], **settings: Any) -> BaselineResult:
    """Stands in for the train stage's ``fit``: learns nothing, in no time."""
    return BaselineResult({"logits": np.zeros((len(test), len(made.LABELS)), dtype=np.float32)}, 0.0, 0.0, float(len(train)))


def _check_answers(plugin: Any, context: BaselineContext, several: bool) -> None:
    train, test = made.examples(36, several=several), made.examples(12, several=several, seed=2)
    bare = [replace(one, target=None) for one in test]
    try:
        result = plugin.run(train, bare, context)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise AssertionError(f"{plugin.name}: failed on test rows without targets (does it read them?): {said}") from error
    ensure(isinstance(result, BaselineResult), f"{plugin.name}: run gave a {type(result).__name__}, not a BaselineResult")
    ensure("logits" in result.outputs, f"{plugin.name}: outputs must hold logits, not {sorted(result.outputs)}")
    logits, shape = np.asarray(result.outputs["logits"]), (len(test), len(context.schema["labels"]))
    ensure(logits.shape == shape, f"{plugin.name}: logits are {list(logits.shape)}, not [rows, classes] = {list(shape)}")
    ensure(bool(np.isfinite(logits).all()), f"{plugin.name}: logits hold NaN or infinity")
    for name in ("train_s", "predict_s", "train_flop"):
        value = getattr(result, name)
        ensure(math.isfinite(value) and value >= 0, f"{plugin.name}: {name} is {value}")
    again = np.asarray(plugin.run(train, bare, context).outputs["logits"])
    ensure(bool(np.allclose(logits, again, atol=1e-6)), f"{plugin.name}: the same rows are answered differently the second time")
    wrong = [replace(one, target=train[0].target) for one in test]
    peeked = np.asarray(plugin.run(train, wrong, context).outputs["logits"])
    ensure(bool(np.allclose(logits, peeked, atol=1e-6)), f"{plugin.name}: the answers change with the test targets: it looks at them")
