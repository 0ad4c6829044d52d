"""Lead-1: the document's first sentence; hard to beat for news and laws, which say first what they are about."""

from __future__ import annotations

import time
from collections.abc import Sequence

from luthier.baselines._sentences import sentences
from luthier.core.errors import NotPossible
from luthier.core.ports import BaselineContext, BaselineResult
from luthier.core.types import Example
from luthier.core.writing import as_arrays, writes


class Lead1:
    """Needs no training."""

    name = "lead-1"
    summary = "the document's first sentence"

    def run(self, train: Sequence[Example], test: Sequence[Example], context: BaselineContext) -> BaselineResult:
        """One sentence a row."""
        if not writes(context.task):
            raise NotPossible(f"{self.name}: {context.task.name} has no summaries", "use a baseline of the task")
        start = time.perf_counter()
        texts = [next(iter(sentences(str(one.inputs["text"]))), "") for one in test]
        return BaselineResult(as_arrays(texts), 0.0, time.perf_counter() - start, 0.0)


plugin = Lead1()
