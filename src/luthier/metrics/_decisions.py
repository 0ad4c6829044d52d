"""What every classification metric is computed from: which classes are right, which were chosen, and how likely each was said to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from luthier.core.ports import Judged
from luthier.core.types import Prediction, names_in


class Decisions(NamedTuple):
    """``right`` and ``chosen`` are bool [rows, classes], ``chances`` float64 [rows, classes], ``confidence`` float64 [rows].

    One label is the case of exactly one ``True`` a row, so the same formulas hold for one label and for several.
    """

    labels: list[str]
    right: Any
    chosen: Any
    chances: Any
    confidence: Any
    several: bool

    @property
    def correct(self) -> Any:
        """Bool [rows]: every class of the row was decided rightly."""
        return (self.right == self.chosen).all(axis=1)


def decisions(judged: Judged) -> Decisions:
    """The arrays of what was judged. Labels outside the schema (never trained) get a class of their own, so they count as errors."""
    targets = [names_in(example.target) for example in judged.examples]
    outputs = [names_in(prediction.output) for prediction in judged.predictions]
    labels = list(judged.schema.get("labels", ()))
    known = set(labels)
    labels += sorted({name for names in (*targets, *outputs) for name in names if name not in known})
    index = {label: number for number, label in enumerate(labels)}
    chosen = _marks(outputs, index)
    return Decisions(
        labels,
        _marks(targets, index),
        chosen,
        _chances(judged.predictions, labels, chosen),
        np.array([prediction.confidence for prediction in judged.predictions], dtype=np.float64),
        bool(judged.schema.get("multi_label", False)),
    )


def _marks(named: Sequence[list[str]], index: dict[str, int]) -> Any:
    marks = np.zeros((len(named), len(index)), dtype=bool)
    rows = [row for row, names in enumerate(named) for _ in names]
    marks[rows, [index[name] for names in named for name in names]] = True
    return marks


def _chances(predictions: Sequence[Prediction], labels: list[str], chosen: Any) -> Any:
    """The predictions' scores [rows, classes]; an answer without scores is taken as certain."""
    if not any(prediction.scores for prediction in predictions):
        return chosen.astype(np.float64)
    if all(list(prediction.scores) == labels for prediction in predictions):
        flat = (score for prediction in predictions for score in prediction.scores.values())
        return np.fromiter(flat, dtype=np.float64, count=chosen.size).reshape(chosen.shape)
    return np.array([[prediction.scores.get(label, 0.0) for label in labels] for prediction in predictions])
