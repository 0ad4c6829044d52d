"""What an answer is decoded from beside the graph's outputs: arrays of the input itself, such as where each token stands in the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from luthier.core.hooks import carried_of
from luthier.core.ports import Task
from luthier.core.types import Arrays, Item


def carry(task: Task, items: Sequence[Item], outputs: Arrays) -> Arrays:
    """The outputs with the arrays that the task's ``decode`` needs of the items (``carried_of``), padded with 0."""
    names = carried_of(task)
    return {**outputs, **{name: _padded([np.asarray(item[name]) for item in items]) for name in names}} if names and items else outputs


def _padded(parts: Sequence[Any]) -> Any:
    """Arrays [n, ...] of several lengths as one [rows, longest, ...]."""
    out = np.zeros((len(parts), max(len(part) for part in parts), *parts[0].shape[1:]), dtype=parts[0].dtype)
    for row, part in enumerate(parts):
        out[row, : len(part)] = part
    return out
