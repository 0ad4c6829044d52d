"""What text metrics read: for each row that the model wrote for, what it wrote, what was wanted, and what it was given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from luthier.core.ports import Judged
from luthier.core.types import Score
from luthier.core.writing import texts_in


class Pair(NamedTuple):
    """``row``: its number; ``reference``: what was wanted; ``source``: all that the model was given."""

    row: int
    reference: str
    written: str
    source: str


def pairs(judged: Judged) -> list[Pair]:
    """The rows that were written for."""
    texts = texts_in(judged.outputs, len(judged.examples))
    return [
        Pair(row, _said(example.target), text, _given(example.inputs))
        for row, (example, text) in enumerate(zip(judged.examples, texts, strict=True))
        if text is not None
    ]


def rows_of(judged: Judged, measure: Callable[[Pair], dict[str, float]], names: tuple[str, ...]) -> dict[str, Any]:
    """{score: [rows]} of a measure of one pair; nan where nothing was written."""
    found = {name: np.full(len(judged.examples), np.nan) for name in names}
    for pair in pairs(judged):
        for name, value in measure(pair).items():
            found[name][pair.row] = value
    return found


def means(by_row: dict[str, Any], *, lower_is_better: tuple[str, ...] = ()) -> list[Score]:
    """A score for each name: the mean over the rows that have a value, 0 where none has."""
    return [
        Score(name, float(np.nanmean(values)) if (~np.isnan(values)).any() else 0.0, higher_is_better=name not in lower_is_better)
        for name, values in by_row.items()
    ]


def _said(target: Any) -> str:
    """An answer in a chat is a message, or several."""
    if isinstance(target, dict):
        return str(target.get("content") or "")
    if isinstance(target, list):
        return "\n".join(map(_said, target))
    return "" if target is None else str(target)


def _given(inputs: dict[str, Any]) -> str:
    if isinstance(inputs.get("messages"), list):
        return "\n".join(_said(message) for message in inputs["messages"])
    return str(inputs.get("text", ""))
