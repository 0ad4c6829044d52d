"""What a row's label probably is, learned from the rows that people have labelled: nearest neighbours first, then a linear model.

Rows are vectors of length 1 ([rows, hidden] float32), labels are marks ([rows, classes] bool; one mark a row, or several).
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple, Protocol

import numpy as np

NEIGHBOURS = 5
ENOUGH_A_CLASS = 5.0
"""Labelled rows for each class that was seen, from which the linear model answers (design/LOG.md: measured on training rows)."""

SHARPNESS = 20.0
"""Cosine differences are small; a neighbour's vote is exp(this x cosine), as in contrastive training of sentence encoders."""

PART = 1000
"""Rows that are compared with all that are labelled in one matrix."""

STRENGTH = 30.0
"""Inverse penalty of the linear model on vectors of length 1, chosen on training rows (design/LOG.md)."""

DOUBT = 0.5
"""As much as a neighbour at cosine 0.5 says that none of the neighbours is right, times this: few and far ones are no certainty."""


class Suggester(Protocol):
    """Answers with chances; ``name`` says which kind it is."""

    name: str

    def chances(self, vectors: Any) -> Any:
        """[rows, classes] float64; rows sum to 1, or to anything where a row may have several labels."""


class Nearest(NamedTuple):
    """The labelled rows nearest to a row: their numbers among the labelled, and cosines, nearest first."""

    rows: list[int]
    cosines: list[float]


def nearest(vectors: Any, labelled: Any, count: int = 3) -> list[Nearest]:
    """For each vector the ``count`` nearest of ``labelled`` [labelled, hidden]."""
    if not len(labelled):
        return [Nearest([], []) for _ in vectors]
    cosines = np.asarray(vectors) @ np.asarray(labelled).T
    found = []
    for row in cosines:
        best = np.argsort(-row, kind="stable")[:count]
        found.append(Nearest(best.tolist(), row[best].astype(float).tolist()))
    return found


class Neighbours:
    """Votes of the nearest labelled rows, weighted by exp(20 x cosine) (weighted k-NN: Dudani 1976)."""

    name = "neighbours"

    def __init__(self, labelled: Any, marks: Any) -> None:
        self._labelled = np.asarray(labelled)
        self._marks = np.asarray(marks, dtype=np.float64)

    def chances(self, vectors: Any) -> Any:
        """[rows, classes]; the farther a row's neighbours are, the nearer its chances are to even."""
        parts = [self._chances(vectors[start : start + PART]) for start in range(0, len(vectors), PART)]
        return np.concatenate(parts) if parts else np.empty((0, self._marks.shape[1]))

    def _chances(self, vectors: Any) -> Any:
        cosines = np.asarray(vectors, dtype=np.float64) @ self._labelled.T.astype(np.float64)
        count = min(NEIGHBOURS, cosines.shape[1])
        best = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        near = np.take_along_axis(cosines, best, axis=1)
        weights = np.exp(SHARPNESS * (near - 1.0))
        votes = np.einsum("rk,rkc->rc", weights, self._marks[best])
        classes = self._marks.shape[1]
        floor = DOUBT * np.exp(-SHARPNESS * 0.5)
        return (votes + floor / classes) / (weights.sum(axis=1, keepdims=True) + floor)


class Linear:
    """Logistic regression on the vectors (scikit-learn, L-BFGS); for several labels one a label."""

    name = "linear"

    def __init__(self, labelled: Any, marks: Any, *, several: bool = False) -> None:
        from sklearn.linear_model import LogisticRegression

        self._several = several
        self._classes = marks.shape[1]
        self._models: list[Any] = []
        targets = np.asarray(marks).T.astype(int) if several else [np.asarray(marks).argmax(axis=1)]
        for target in targets:
            if (target == target[0]).all():
                self._models.append(int(target[0]))
                continue
            model = LogisticRegression(C=STRENGTH, max_iter=200, tol=1e-3)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._models.append(model.fit(labelled, target))

    def chances(self, vectors: Any) -> Any:
        """[rows, classes]; a class that no labelled row has gets 0."""
        found = np.zeros((len(vectors), self._classes))
        if not self._several:
            (model,) = self._models
            if isinstance(model, int):
                found[:, model] = 1.0
            else:
                found[:, model.classes_] = model.predict_proba(vectors)
            return found
        for column, model in enumerate(self._models):
            found[:, column] = float(model) if isinstance(model, int) else model.predict_proba(vectors)[:, 1]
        return found


def learned(labelled: Any, marks: Any, *, several: bool = False) -> Suggester | None:
    """What can be learned from these rows now: nothing from none, neighbours from few, a linear model from enough."""
    if not len(labelled):
        return None
    seen = int(np.asarray(marks).any(axis=0).sum())
    if seen < 2 or len(labelled) < ENOUGH_A_CLASS * seen:
        return Neighbours(labelled, marks)
    return Linear(labelled, marks, several=several)
