"""The worst errors with their rows: wrong answers that were given with the most confidence."""

from __future__ import annotations

from typing import Any

import numpy as np

from luthier.core.ports import Judged, Task
from luthier.stages.evaluate.scoring import right_rows
from luthier.stages.evaluate.subject import listed

MOST = 50
MOST_LETTERS = 600


def worst(task: Task, judged: Judged) -> list[dict[str, Any]]:
    """At most 50 rows: id, source (``file:line``), text (as prepare masked it), target, output, confidence, and the target's chance."""
    wrong = np.flatnonzero(~right_rows(judged))
    ordered = sorted(map(int, wrong), key=lambda row: (-judged.predictions[row].confidence, judged.examples[row].id))
    return [_row(task, judged, row) for row in ordered[:MOST]]


def _row(task: Task, judged: Judged, row: int) -> dict[str, Any]:
    example, prediction = judged.examples[row], judged.predictions[row]
    names = listed(example.target)
    text = task.text(example)
    return {
        "id": example.id,
        "source": example.source,
        "text": text if len(text) <= MOST_LETTERS else text[:MOST_LETTERS] + " ...",
        "target": example.target,
        "output": prediction.output,
        "confidence": prediction.confidence,
        "chance_of_target": min((prediction.scores.get(str(name), 0.0) for name in names), default=0.0),
        "abstained": prediction.abstained,
    }
