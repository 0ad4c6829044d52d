"""Targets as arrays, and chances as the logits that a task decodes; shared by the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from luthier.core.errors import NotPossible
from luthier.core.types import Example, Schema, names_in


def marks(examples: Sequence[Example], schema: Schema) -> Any:
    """Bool [rows, labels]: which labels are right; one a row, or several. Raises ``NotPossible`` for a task whose rows have no labels."""
    if "labels" not in schema:
        raise NotPossible(
            "evaluate.baselines: this baseline answers with labels, and these rows have none", "leave it out, or [from-scratch]"
        )
    index = {label: number for number, label in enumerate(schema["labels"])}
    right = np.zeros((len(examples), len(index)), dtype=bool)
    for row, example in enumerate(examples):
        for name in names_in(example.target):
            right[row, index[name]] = True
    return right


def logits_of(chances: Any, schema: Schema) -> Any:
    """Chances [rows, labels] as logits: of a softmax for one label, of a sigmoid for several."""
    chances = np.clip(np.asarray(chances, dtype=np.float64), 1e-9, 1 - 1e-9)
    return np.log(chances) - (np.log1p(-chances) if schema.get("multi_label") else 0.0)
