"""Confusion matrix: how often each right class was answered as each other class, and which two are taken for one another most."""

from __future__ import annotations

from typing import Any

import numpy as np

from luthier.core.ports import Judged
from luthier.core.types import Score
from luthier.metrics._decisions import Decisions, decisions

TOP = 20
"""How many of the most frequent confusions are listed."""


class Confusion:
    """``confusion``: the largest number of rows of one class answered as one other class, as a share of all rows; lower is better."""

    name = "confusion"
    summary = "confusion matrix and the most frequent confusions"

    def compute(self, judged: Judged) -> list[Score]:
        """One score; ``parts`` are the most frequent confusions (``right -> answered``) as shares of all rows."""
        made = decisions(judged)
        rows = max(len(made.right), 1)
        parts = {f"{right} -> {answered}": count / rows for right, answered, count in _pairs(made.labels, matrix(made))}
        return [Score("confusion", max(parts.values(), default=0.0), higher_is_better=False, parts=parts)]

    def figures(self, judged: Judged) -> dict[str, Any]:
        """``confusion``: labels, matrix [right][answered] of row counts, and ``pairs`` (most frequent confusions, best first)."""
        made = decisions(judged)
        counts = matrix(made)
        pairs = [{"right": right, "answered": answered, "rows": int(count)} for right, answered, count in _pairs(made.labels, counts)]
        return {"confusion": {"labels": made.labels, "matrix": counts.astype(int).tolist(), "pairs": pairs}}


def matrix(made: Decisions) -> Any:
    """Counts [classes, classes]; a row is a right class. For several labels: missed against wrongly added ones, hits on the diagonal."""
    if not made.several:
        return made.right.T.astype(np.float64) @ made.chosen.astype(np.float64)
    missed, added = (made.right & ~made.chosen), (made.chosen & ~made.right)
    counts = missed.T.astype(np.float64) @ added.astype(np.float64)
    counts[np.diag_indices(len(counts))] = (made.right & made.chosen).sum(axis=0)
    return counts


def _pairs(labels: list[str], counts: Any) -> list[tuple[str, str, float]]:
    off = counts.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:TOP]
    rows, columns = np.unravel_index(order, off.shape)
    return [(labels[r], labels[c], float(off[r, c])) for r, c in zip(rows, columns, strict=True) if off[r, c] > 0]


plugin = Confusion()
