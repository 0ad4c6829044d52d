"""From scratch: the same network with random weights and as many steps as the fine-tune; the difference is what pre-training gave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from luthier.core.ports import BaselineContext, BaselineResult
from luthier.core.types import Example


class FromScratch:
    """Every weight learns, whatever the method of the fine-tune: a random trunk that stays frozen would be no fair opponent."""

    name = "from-scratch"
    summary = "the same network without pre-training, same number of steps"

    def run(self, train: Sequence[Example], test: Sequence[Example], context: BaselineContext) -> BaselineResult:
        """The answers of ``context.fit(train, test, pretrained=False, max_steps=...)``."""
        return cast(BaselineResult, context.fit(train, test, pretrained=False, max_steps=context.steps))


plugin = FromScratch()
