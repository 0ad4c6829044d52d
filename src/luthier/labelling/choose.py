"""Which rows a person should label next: those of which the model is unsure, and no two alike.

The published parts: uncertainty by the margin between the two likeliest labels (Scheffer et al. 2001), and diversity by k-means++ (Arthur
and Vassilvitskii 2007) over the most uncertain rows, seeded with the rows that are labelled already, as in core-set selection (Sener and
Savarese 2018, arXiv 1708.00489) and in Zhdanov's diverse mini-batches (2019, arXiv 1901.05954). design/LOG.md has what else was tried.
"""

from __future__ import annotations

from typing import Any

import numpy as np

BATCH = 25
"""Rows chosen at a time; then the model learns from their labels."""

SURPLUS = 5
"""k-means++ chooses among this many times as many of the most uncertain rows."""

PART = 1000
"""Rows that are compared with all that are labelled in one matrix."""

LEAST_FIRST = 20
FIRST_A_LABEL = 1.3


def first(labels: int) -> int:
    """How many rows are chosen by diversity alone, before the model's doubts count: somewhat more than there are labels."""
    return max(LEAST_FIRST, round(FIRST_A_LABEL * labels))


def margin(chances: Any) -> Any:
    """How unsure each row is [rows], 0 to 1: 1 less the distance of the two likeliest of ``chances`` [rows, classes]."""
    if chances.shape[1] < 2:
        return 1.0 - chances.max(axis=1, initial=0.0)
    best = np.partition(chances, -2, axis=1)[:, -2:]
    return 1.0 - (best[:, 1] - best[:, 0])


def least_decided(chances: Any) -> Any:
    """The same where a row may have several labels: 1 for a label at even odds, 0 when every label is certain."""
    return 1.0 - np.abs(2.0 * chances - 1.0).min(axis=1, initial=1.0)


def next_rows(vectors: Any, unsure: Any, seen: Any, count: int, seed: int = 0) -> Any:
    """Numbers of the rows to label next, the first one first.

    ``vectors`` [rows, hidden] of length 1 and ``unsure`` [rows] (``None``: nothing was learned yet) are of rows without a label, ``seen``
    [labelled, hidden] of those with one.
    """
    rows, vectors = np.arange(len(vectors)), np.asarray(vectors, dtype=np.float32)
    if unsure is not None and len(rows) > SURPLUS * count:
        rows = np.argsort(-np.asarray(unsure), kind="stable")[: SURPLUS * count]
    return rows[spread(vectors[rows], seen, count, seed)]


def spread(vectors: Any, seen: Any, count: int, seed: int = 0) -> Any:
    """k-means++: each next row is drawn by its squared distance to the nearest one that is seen or drawn already."""
    draw, found = np.random.default_rng(seed), np.empty(0, dtype=np.int64)
    if not len(vectors):
        return found
    far = np.full(len(vectors), 2.0)
    if len(seen):
        seen = np.asarray(seen, dtype=np.float32)
        for start in range(0, len(vectors), PART):  # not [vectors, seen] at once: gigabytes
            part = slice(start, start + PART)
            far[part] = np.minimum(far[part], 2.0 - 2.0 * (vectors[part] @ seen.T).max(axis=1))
    free = np.ones(len(vectors), dtype=bool)
    for _ in range(min(count, len(vectors))):
        weight = np.where(free, np.maximum(far, 0.0), 0.0).astype(np.float64)
        if weight.sum() <= 1e-9:  # all that is left repeats something
            weight = free.astype(np.float64)
        chosen = int(draw.choice(len(vectors), p=weight / weight.sum()))
        found, free[chosen] = np.append(found, chosen), False
        far = np.minimum(far, 2.0 - 2.0 * (vectors @ vectors[chosen]))
    return found
