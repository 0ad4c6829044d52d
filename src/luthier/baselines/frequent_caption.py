"""The most frequent caption of training, for every picture: what is to be had without looking."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from luthier.core.errors import NotPossible
from luthier.core.ports import BaselineContext, BaselineResult
from luthier.core.types import Example
from luthier.core.writing import as_arrays, writes


class FrequentCaption:
    """Of captions that are equally frequent, the first."""

    name = "frequent-caption"
    summary = "the most frequent caption of training, for every picture"

    def run(self, train: Sequence[Example], test: Sequence[Example], context: BaselineContext) -> BaselineResult:
        """One caption for all rows."""
        if not writes(context.task):
            raise NotPossible(f"{self.name}: {context.task.name} has no captions", "use a baseline of the task")
        start = time.perf_counter()
        caption = Counter(str(one.target) for one in train).most_common(1)[0][0]
        return BaselineResult(as_arrays([caption] * len(test)), time.perf_counter() - start, 0.0, 0.0)


plugin = FrequentCaption()
