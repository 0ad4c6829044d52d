"""Every score of the task's metrics, with 95 % intervals and the data of their figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from luthier.core import registry
from luthier.core.ports import Judged, Task, scores_of
from luthier.core.types import Score
from luthier.stages.evaluate.bootstrap import interval
from luthier.stages.evaluate.subject import listed


def scores(task: Task, judged: Judged, names: Sequence[str] = ()) -> dict[str, Score]:
    """Scores by name, of the named metrics (all of the task's when none is named)."""
    found: dict[str, Score] = {}
    for name in names or task.metrics:
        for score in registry.get("metrics", name).compute(judged):
            found.setdefault(score.name, score)
    return found


def resamples(task: Task, judged: Judged, counts: Any, names: Sequence[str] = ()) -> dict[str, Any]:
    """The value of each score in each resample, [resamples] by score name; metrics that cannot be resampled are left out."""
    found: dict[str, Any] = {}
    for name in names or task.metrics:
        metric = registry.get("metrics", name)
        if hasattr(metric, "resample") and len(counts):
            found |= metric.resample(judged, counts)
        elif hasattr(metric, "by_row") and len(counts):
            found |= {score: _means(values, counts) for score, values in metric.by_row(judged).items()}
    return found


def _means(values: Any, counts: Any) -> Any:
    """The mean over rows in each resample; a row without a value (nan) counts in none."""
    known = ~np.isnan(values)
    return (counts[:, known] @ values[known]) / np.maximum(counts[:, known].sum(axis=1), 1)


def table(task: Task, judged: Judged, counts: Any) -> dict[str, dict[str, Any]]:
    """``{score: {value, low, high, higher_is_better, parts}}``; ``low`` and ``high`` are absent where nothing was resampled."""
    drawn = resamples(task, judged, counts)
    rows: dict[str, dict[str, Any]] = {}
    for name, score in scores(task, judged).items():
        row: dict[str, Any] = {"value": score.value}
        if name in drawn:
            low, high = interval(drawn[name], score.value)
            row |= {"low": low, "high": high}
        rows[name] = {**row, "higher_is_better": score.higher_is_better, "parts": score.parts}
    return rows


def figures(task: Task, judged: Judged) -> dict[str, Any]:
    """The data of every figure, by its name."""
    found: dict[str, Any] = {}
    for name in task.metrics:
        found |= registry.get("metrics", name).figures(judged)
    return found


def metric_of(task: Task, score: str, judged: Judged) -> str:
    """The metric that computes a score; raises ``KeyError`` when none of the task's does."""
    for name in task.metrics:
        metric = registry.get("metrics", name)
        if score in scores_of(metric) and any(one.name == score for one in metric.compute(judged)):
            return name
    raise KeyError(score)


def primary(task: Task, judged: Judged) -> Score:
    """The score that the task is judged by."""
    return scores(task, judged, [metric_of(task, task.primary_metric, judged)])[task.primary_metric]


def right_rows(judged: Judged) -> Any:
    """Bool [rows]: whether each answer is exactly the target."""
    return np.array([_same(p.output, e.target) for p, e in zip(judged.predictions, judged.examples, strict=True)], dtype=bool)


def _same(output: Any, target: Any) -> bool:
    if isinstance(output, list) or isinstance(target, list):
        return sorted(map(str, listed(output))) == sorted(map(str, listed(target)))
    return bool(output == target)
