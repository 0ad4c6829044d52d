"""Rows whose label is likely wrong: cleanlab's confident learning on answers of models that have not seen the row (arXiv 1911.00068)."""

from __future__ import annotations

from typing import Any

import numpy as np

from luthier.core.ports import Judged, Task
from luthier.stages.evaluate.subject import listed

MOST = 50
MOST_LETTERS = 300


def likely(task: Task, judged: Judged) -> dict[str, Any]:
    """``found`` (how many rows), ``share`` of all, and at most 50 ``rows``, likeliest first, with the label given and the one suggested.

    ``judged`` must be out-of-fold answers. A row in doubt is a question to a person, not a correction.
    """
    from cleanlab.filter import find_label_issues

    names = list(judged.predictions[0].scores)
    index = {name: number for number, name in enumerate(names)}
    chances = np.array([list(prediction.scores.values()) for prediction in judged.predictions])
    several = bool(judged.schema.get("multi_label"))
    if several:
        given: Any = [[index[name] for name in example.target] for example in judged.examples]
    else:
        given = np.array([index[example.target] for example in judged.examples])
        chances = chances / chances.sum(axis=1, keepdims=True)
        if len(set(given.tolist())) < 2:
            return {"found": 0, "share": 0.0, "rows": []}
    rows = find_label_issues(given, chances, return_indices_ranked_by="self_confidence", n_jobs=1, multi_label=several)
    return {
        "found": len(rows),
        "share": len(rows) / len(judged.examples),
        "rows": [_row(task, judged, int(row)) for row in rows[:MOST]],
    }


def _row(task: Task, judged: Judged, row: int) -> dict[str, Any]:
    example, prediction = judged.examples[row], judged.predictions[row]
    names = listed(example.target)
    return {
        "id": example.id,
        "source": example.source,
        "text": task.text(example)[:MOST_LETTERS],
        "given": example.target,
        "suggested": prediction.output,
        "chance_of_given": min((prediction.scores.get(str(name), 0.0) for name in names), default=0.0),
        "chance_of_suggested": prediction.confidence,
    }
