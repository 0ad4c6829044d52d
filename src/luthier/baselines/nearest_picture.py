"""The caption of the training picture that looks most alike to the untouched vision model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from luthier.core.errors import NotPossible
from luthier.core.ports import BaselineContext, BaselineResult
from luthier.core.types import Example
from luthier.core.writing import as_arrays

BATCH = 64


class NearestPicture:
    """Cosine of the mean of the grid of features, which the base model's vision part gives. Nothing is trained."""

    name = "nearest-picture"
    summary = "the caption of the training picture whose features are nearest"

    def run(self, train: Sequence[Example], test: Sequence[Example], context: BaselineContext) -> BaselineResult:
        """One caption of training a row; raises ``NotPossible`` for a task without pictures."""
        if "pixels" not in getattr(context.task, "beside", ()):
            raise NotPossible(f"{self.name}: {context.task.name} has no pictures", "use a baseline of the task")
        model = context.task.load(context.base, context.schema).eval()
        start = time.perf_counter()
        known = _vectors(train, model, context)
        learned = time.perf_counter() - start
        nearest = (_vectors(test, model, context) @ known.T).argmax(axis=1)
        texts = [str(train[row].target) for row in nearest]
        return BaselineResult(as_arrays(texts), learned, time.perf_counter() - start - learned, 0.0)


def _vectors(examples: Sequence[Example], model: Any, context: BaselineContext) -> Any:
    """[rows, channels] of length 1."""
    import numpy as np
    import torch

    processor, found = context.task.processor(context.base, context.schema), []
    with torch.inference_mode():
        for at in range(0, len(examples), BATCH):
            items = context.task.encode(examples[at : at + BATCH], processor, context.schema)
            found.append(model.seen(torch.as_tensor(np.stack([item["pixels"] for item in items]))).mean(dim=1).numpy())
    vectors = np.concatenate(found)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)


plugin = NearestPicture()
