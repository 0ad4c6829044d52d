"""Labels that are likely wrong: confident learning (cleanlab, arXiv 1911.00068) on the answers of models that have not seen the row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from luthier.labelling import suggest
from luthier.labelling.values import Kind, Value, labels_in, marks

FOLDS = 5
MOST = 200


class Text(Protocol):
    """A message."""

    @property
    def id(self) -> str:
        """The hash of its content."""

    @property
    def text(self) -> str:
        """What it says."""


def out_of_sample(vectors: Any, right: Any, *, several: bool = False, seed: int = 0) -> Any:
    """Chances [rows, classes] of each row by a linear model that learned from the other folds only."""
    from sklearn.model_selection import KFold

    folds = min(FOLDS, len(vectors))
    chances = np.zeros(right.shape)
    for learn, held in KFold(folds, shuffle=True, random_state=seed).split(vectors):
        chances[held] = suggest.Linear(vectors[learn], right[learn], several=several).chances(vectors[held])
    return chances


def likely(kind: Kind, messages: Sequence[Text], values: Sequence[Value], vectors: Any, labels: Sequence[str]) -> dict[str, Any]:
    """``found`` (how many), ``share`` of all labelled rows, and at most 200 ``rows``, likeliest first: each a question to a person.

    ``labels`` that no row has are left out: nothing is known of them.
    """
    from cleanlab.filter import find_label_issues

    said = {name for value in values for name in labels_in(kind, value)}
    used = [label for label in labels if label in said]
    if len(messages) < 2 * FOLDS or len(used) < 2:
        return {"found": 0, "share": 0.0, "rows": []}
    several, right = kind == "labels", marks(kind, values, used)
    chances = out_of_sample(vectors, right, several=several)
    given: Any = [np.flatnonzero(row).tolist() for row in right] if several else right.argmax(axis=1)
    if not several:
        chances = (chances + 1e-9) / (chances + 1e-9).sum(axis=1, keepdims=True)
    rows = find_label_issues(given, chances, return_indices_ranked_by="self_confidence", n_jobs=1, multi_label=several)
    listed = [_row(messages[number], values[number], chances[number], used, several=several) for number in map(int, rows[:MOST])]
    return {"found": len(rows), "share": len(rows) / len(messages), "rows": listed}


def _row(message: Text, value: Value, chances: Any, labels: Sequence[str], *, several: bool) -> dict[str, Any]:
    by_name = dict(zip(labels, chances.tolist(), strict=True))
    suggested: Any = [name for name, chance in by_name.items() if chance >= 0.5] if several else labels[int(chances.argmax())]
    sure = float(np.maximum(chances, 1 - chances).min()) if several else by_name[suggested]
    least = min((by_name[name] for name in (value if several else [value])), default=0.0)
    said = {"given": value, "suggested": suggested, "chance_of_given": least, "chance_of_suggested": sure}
    return {"row": message.id, "text": message.text, **said}
