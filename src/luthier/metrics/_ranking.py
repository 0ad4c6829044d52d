"""Areas under ranking curves, one class against the rest, for many resamples of the rows at once.

A ranking is compared by matrix products: ``(score of every row > score of a positive row) @ weights`` needs no sort per resample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

CURVE_POINTS = 101
"""Points of a curve that is drawn."""

_BLOCK = 1024
_PAIRS = 64_000_000
"""Comparisons held at once, at most: half a gigabyte; with many rows a block has fewer positives."""
_WORK = 2e11
"""Multiplications that one area may take over all its resamples (about 3 s on one core)."""

Area: TypeAlias = Callable[[Any, Any, Any], Any]


def _blocks(positives: Any, rows: int) -> Iterator[Any]:
    block = max(1, min(_BLOCK, _PAIRS // max(rows, 1)))
    for start in range(0, len(positives), block):
        yield positives[start : start + block]


def roc_area(right: Any, chances: Any, weights: Any) -> Any:
    """Area under the ROC curve of each resample, ties counted half (Mann-Whitney).

    ``right`` bool [rows], ``chances`` [rows], ``weights`` [rows, resamples]; NaN for a resample that lacks positive or negative rows.
    """
    negatives, others = weights[~right], chances[~right]
    won = np.zeros(weights.shape[1])
    for block in _blocks(np.flatnonzero(right), len(chances)):
        own = chances[block][:, None]
        below = (others < own) + 0.5 * (others == own)
        won += np.einsum("pb,pb->b", weights[block], below.astype(weights.dtype) @ negatives)
    pairs = weights[right].sum(axis=0) * negatives.sum(axis=0)
    return np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0)


def precision_area(right: Any, chances: Any, weights: Any) -> Any:
    """Average precision of each resample: the step-wise area under the precision-recall curve, ties taken together.

    ``right`` bool [rows], ``chances`` [rows], ``weights`` [rows, resamples]; NaN for a resample without positive rows.
    """
    positives = weights[right]
    area = np.zeros(weights.shape[1])
    for block in _blocks(np.flatnonzero(right), len(chances)):
        above = (chances >= chances[block][:, None]).astype(weights.dtype)
        shown = above @ weights
        found = above[:, right] @ positives
        area += np.einsum("pb,pb->b", weights[block], np.divide(found, shown, out=np.zeros_like(shown), where=shown > 0))
    total = positives.sum(axis=0)
    return np.divide(area, total, out=np.full(len(area), np.nan), where=total > 0)


def per_class(area: Area, right: Any, chances: Any, counts: Any) -> Any:
    """``area`` of every class [classes, resamples] for ``counts`` [resamples, rows]; of a very large test set only the first resamples."""
    rows, classes = right.shape
    keep = int(np.clip(_WORK / max(rows * rows, 1), 50, len(counts)))
    weights = np.ascontiguousarray(counts[:keep].T)
    return np.stack([area(right[:, one], chances[:, one], weights) for one in range(classes)])


def macro(areas: Any) -> Any:
    """Mean over the classes that have an area, [resamples]; 0 where none has."""
    there = ~np.isnan(areas)
    return np.where(there, areas, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)


def steps(right: Any, chances: Any) -> tuple[Any, Any]:
    """Right and wrong decisions above each distinct chance, falling: two running counts."""
    order = np.argsort(-chances, kind="stable")
    falling = chances[order]
    last = np.flatnonzero(np.r_[falling[1:] != falling[:-1], True]) if len(falling) else np.zeros(0, dtype=int)
    return np.cumsum(right[order])[last], np.cumsum(~right[order])[last]


def thinned(x: Any, y: Any) -> dict[str, list[float]]:
    """A curve as about ``CURVE_POINTS`` points evenly spaced along its length, ends kept."""
    way = np.r_[0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))]
    keep = np.unique(np.r_[0, np.searchsorted(way, np.linspace(0, way[-1], CURVE_POINTS)), len(x) - 1])
    return {"x": [round(float(v), 5) for v in x[keep]], "y": [round(float(v), 5) for v in y[keep]]}
