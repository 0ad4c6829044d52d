"""How much each class counts in the loss, from how often it occurs in the training items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from luthier.core.plan import TrainPlan
from luthier.core.types import Item, Schema

SKEWED = 5.0
"""``auto`` balances when the most frequent class has more than this many times the rows of the rarest."""
LARGEST_POSITIVE_WEIGHT = 20.0


def class_weights(items: Sequence[Item], schema: Schema, plan: TrainPlan) -> Any:
    """[classes] float32, or ``None`` when all count the same. For several labels they weigh the positive side (``pos_weight``).

    balanced: rows / (classes * rows of the class); auto: the square root of that when classes are skewed more than 5 to 1. The mean over
    rows is 1.
    """
    labels = [item["labels"] for item in items if "labels" in item]
    if plan.class_weights == "none" or not labels or "labels" not in schema or labels[0].ndim > 1:
        return None
    classes = len(schema["labels"])
    several = labels[0].ndim == 1
    if several and len(labels[0]) != classes:
        return None
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
