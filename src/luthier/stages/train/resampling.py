"""Rare classes seen more often: every row is in each epoch, those of rare classes several times; which ones follows from seed and epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luthier.core.errors import NotPossible
from luthier.core.hooks import classes_in
from luthier.core.plan import TrainPlan
from luthier.core.ports import Task
from luthier.core.types import Item, Schema

POWERS = {"square-root": 0.5, "balanced": 1.0}
"""A class of n rows is seen ``n (most / n)^power`` times an epoch, ``most`` being the rows of the largest class."""
_STREAM = 77
"""Keeps these draws apart from those of the batches, which have the same seed and epoch."""


@dataclass(frozen=True)
class Resampling:
    """``strata`` [items]: the class number of each item."""

    strata: Any
    power: float
    seed: int

    def rows(self, epoch: int) -> Any:
        """Item numbers of an epoch, int64: each at least once; always equally many."""
        random = np.random.default_rng([self.seed, epoch, _STREAM])
        counts = np.bincount(self.strata)
        found = [np.arange(len(self.strata))]
        for number in np.flatnonzero(counts):
            own, have = np.flatnonzero(self.strata == number), int(counts[number])
            more = round(have * (counts.max() / have) ** self.power) - have
            found += [np.tile(own, more // have), random.permutation(own)[: more % have]]
        return np.concatenate(found)


def resampling(task: Task, items: Sequence[Item], schema: Schema, plan: TrainPlan, seed: int) -> Resampling | None:
    """What ``train.resampling`` asks for; ``None`` when it asks for nothing. Raises ``NotPossible`` for items without a class."""
    if plan.resampling == "none" or not items:
        return None
    return Resampling(strata(task, items, schema, f"train.resampling={plan.resampling}"), POWERS[plan.resampling], seed)


def strata(task: Task, items: Sequence[Item], schema: Schema, asked: str) -> Any:
    """[items] int64: the class of each; of several labels the rarest that it has (none: a class of its own).

    Raises ``NotPossible`` for items without a class; ``asked`` is the setting that needs them.
    """
    found = [None if one is None else np.asarray(one) for one in classes_in(task, items, schema)]
    if any(one is None or one.shape not in ((), (len(schema.get("labels", ())),)) for one in found):
        raise NotPossible(f"{asked}: the rows of {task.name} have no class", "leave it at its default")
    labels: Any = np.stack(found)  # type: ignore[arg-type]
    if labels.ndim == 1:
        return labels.astype(np.int64)
    counts = labels.sum(axis=0)
    rarest = np.where(labels > 0, counts, np.inf).argmin(axis=1)
    return np.where(labels.any(axis=1), rarest, labels.shape[1]).astype(np.int64)
