"""F1 of rare classes: the mean over the classes of which there are few training rows, so that frequent ones cannot hide them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from luthier.core.ports import Judged
from luthier.core.types import Score
from luthier.metrics._decisions import Decisions, decisions


class RareF1:
    """``rare_f1`` in [0, 1]: mean F1 of the rare classes that occur among targets or answers; ``parts`` per class.

    Which classes are rare says ``judged.rare`` (``evaluate.rare_below``, counted in training rows). Where nobody said it, as when a
    checkpoint is chosen, it is the rarest quarter of the classes among the judged rows.
    """

    name = "rare-f1"
    summary = "mean F1 of the classes with few training rows"

    def compute(self, judged: Judged) -> list[Score]:
        """One score; 0 when no rare class occurs."""
        made = decisions(judged)
        each, seen = _f1(made, np.ones((1, len(made.right))), _rare(judged, made))
        parts = {name: float(value) for name, value, there in zip(made.labels, each[0], seen[0], strict=True) if there}
        return [Score("rare_f1", float(_mean(each, seen)[0]), parts=parts)]

    def resample(self, judged: Judged, counts: Any) -> dict[str, Any]:
        """The score of each resample; ``counts`` [resamples, rows]."""
        made = decisions(judged)
        return {"rare_f1": _mean(*_f1(made, counts, _rare(judged, made)))}

    def figures(self, judged: Judged) -> dict[str, Any]:
        """``rare_classes``: their names."""
        made = decisions(judged)
        return {"rare_classes": [name for name, rare in zip(made.labels, _rare(judged, made), strict=True) if rare]}


def rare_classes(counts: Mapping[str, int], below: float = 0.0) -> frozenset[str]:
    """Classes with fewer rows than ``below`` (below 1: than that share of all rows); 0: the rarest quarter, and those that tie with it."""
    if not counts:
        return frozenset()
    if below:
        limit = below if below >= 1 else below * sum(counts.values())
        return frozenset(name for name, count in counts.items() if count < limit)
    last = sorted(counts.values())[max(0, len(counts) // 4 - 1)]
    return frozenset(name for name, count in counts.items() if count <= last)


def _rare(judged: Judged, made: Decisions) -> Any:
    """Bool [classes]."""
    names = judged.rare
    if names is None:
        counts = Counter({name: int(rows) for name, rows in zip(made.labels, made.right.sum(axis=0), strict=True) if rows})
        names = rare_classes(counts)
    return np.array([name in names for name in made.labels], dtype=bool)


def _f1(made: Decisions, counts: Any, rare: Any) -> tuple[Any, Any]:
    """F1 of each class, and whether it is rare and occurs: two arrays [resamples, classes]."""
    kind = counts.dtype
    hits = counts @ (made.right & made.chosen).astype(kind)
    both = counts @ made.chosen.astype(kind) + counts @ made.right.astype(kind)
    return np.divide(2 * hits, both, out=np.zeros_like(both, dtype=np.float64), where=both > 0), (both > 0) & rare


def _mean(each: Any, seen: Any) -> Any:
    return (each * seen).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)


plugin = RareF1()
