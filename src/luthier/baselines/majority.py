"""Majority: always answers as most of the training rows do; what accuracy is worth nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from luthier.baselines._targets import logits_of, marks
from luthier.core.ports import BaselineContext, BaselineResult
from luthier.core.types import Example


class Majority:
    """The share of each label among the training rows, for every row alike."""

    name = "majority"
    summary = "always the most frequent class"

    def run(self, train: Sequence[Example], test: Sequence[Example], context: BaselineContext) -> BaselineResult:
        """``logits`` [rows, classes], equal in every row."""
        start = time.perf_counter()
        shares = marks(train, context.schema).mean(axis=0)
        learned = time.perf_counter()
        logits = np.tile(logits_of(shares[None, :], context.schema), (len(test), 1))
        return BaselineResult({"logits": logits}, learned - start, time.perf_counter() - learned, float(len(train)))


plugin = Majority()
