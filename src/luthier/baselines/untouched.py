"""The untouched base: what the pre-trained model writes for the same prompts before any training."""

from __future__ import annotations

import time
from collections.abc import Sequence

from luthier.core.errors import NotPossible
from luthier.core.ports import BaselineContext, BaselineResult
from luthier.core.types import Example
from luthier.core.writing import writes


class Untouched:
    """What fine-tuning starts from, asked in the same words."""

    name = "untouched"
    summary = "the base model as it is, asked in the same words"

    def run(self, train: Sequence[Example], test: Sequence[Example], context: BaselineContext) -> BaselineResult:
        """Raises ``NotPossible`` for a task whose output layer is new: the base has none."""
        if not writes(context.task):
            raise NotPossible("untouched: the base has no output layer for this task", "use nearest-centroid")
        start = time.perf_counter()
        model = context.task.load(context.base, context.schema).eval()
        outputs = context.answers(model, test)
        return BaselineResult(outputs, 0.0, time.perf_counter() - start, 0.0)


plugin = Untouched()
