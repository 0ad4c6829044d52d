"""How much each class counts in the loss, from how often it occurs in the training items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from luthier.core.hooks import classes_in
from luthier.core.plan import TrainPlan
from luthier.core.ports import Task
from luthier.core.types import Item, Schema

SKEWED = 5.0
"""``auto`` balances when the most frequent class has more than this many times the rows of the rarest."""
LARGEST_POSITIVE_WEIGHT = 20.0


def class_weights(task: Task, items: Sequence[Item], schema: Schema, plan: TrainPlan) -> Any:
    """[classes] float32, or ``None`` when all count the same. For several labels they weigh the positive side (``pos_weight``).

    balanced: rows / (classes * rows of the class); auto: the square root of that when classes are skewed more than 5 to 1. The mean over
    rows is 1.
    """
    if plan.class_weights == "none" or not items or "labels" not in schema:
        return None
    classes = len(schema["labels"])
    labels: list[Any] = [np.asarray(one) for one in classes_in(task, items, schema) if one is not None]
    if not labels or labels[0].shape not in ((), (classes,)):
        return None
    several = labels[0].ndim == 1
    if several and not schema.get("multi_label", True):  # marks of exactly one class each
        labels, several = [one.argmax() for one in labels], False
    if several and plan.class_weights == "auto" and hasattr(task, "class_of"):
        return None  # several classes and more in one loss: only where it is asked for
    counts = np.sum(labels, axis=0) if several else np.bincount(np.array(labels), minlength=classes)
    present = np.maximum(counts.astype(np.float64), 1.0)
    power = 1.0 if plan.class_weights == "balanced" else 0.5
    if several:
        weights = np.minimum(((len(labels) - counts) / present) ** power, LARGEST_POSITIVE_WEIGHT).clip(min=1.0)
        return weights.astype(np.float32)
    if plan.class_weights == "auto" and present.max() <= SKEWED * present.min():
        return None
    weights = (len(labels) / (classes * present)) ** power
    return (weights * len(labels) / float((weights * counts).sum())).astype(np.float32)
