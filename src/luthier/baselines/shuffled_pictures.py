"""The tuned model itself, shown other pictures: were it hardly worse, it would not be looking."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from luthier.core.errors import NotPossible
from luthier.core.ports import BaselineContext, BaselineResult
from luthier.core.types import Example
from luthier.core.writing import writes


class ShuffledPictures:
    """Each row gets the picture of the row half of the test set away."""

    name = "shuffled-pictures"
    summary = "control: the tuned model, shown another row's picture"

    def run(self, train: Sequence[Example], test: Sequence[Example], context: BaselineContext) -> BaselineResult:
        """Raises ``NotPossible`` where there is no tuned model, or its task does not write."""
        if not writes(context.task) or context.model is None:
            raise NotPossible(f"{self.name}: {context.task.name} writes no captions", "use a baseline of the task")
        away = len(test) // 2
        turned = [replace(test[(row + away) % len(test)], columns=one.columns) for row, one in enumerate(test)]
        start = time.perf_counter()
        model = context.task.load(context.model, context.schema).eval()
        return BaselineResult(context.answers(model, turned), 0.0, time.perf_counter() - start, 0.0)


plugin = ShuffledPictures()
