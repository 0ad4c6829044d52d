"""Nearest class centroid: the base model untouched, each text answered with the class whose mean embedding points the same way.

What the base model already knows, before any fine-tuning (Snell et al. 2017, "Prototypical Networks", arXiv 1703.05175, with cosine).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from luthier.baselines._targets import marks
from luthier.core.ports import BaselineContext, BaselineResult
from luthier.core.types import Example

BATCH_TOKENS = 4096
NEVER = -60.0
"""The logit of a class that no training row has: below every cosine's."""
SHARPNESS = 20.0
"""Cosine differences are small; logits are cosine times this, as in contrastive training of sentence encoders."""


class NearestCentroid:
    """Logits are cosines to each class's centroid; for several labels, against the threshold that fits the training rows best."""

    name = "nearest-centroid"
    summary = "the untouched base model, nearest class centroid"

    def run(self, train: Sequence[Example], test: Sequence[Example], context: BaselineContext) -> BaselineResult:
        """``logits`` [rows, classes]; FLOP counted as two a parameter of the trunk and token."""
        start = time.perf_counter()
        model = context.task.load(context.base, context.schema).eval()
        processor = context.task.processor(context.base, context.schema)
        vectors, tokens = _embeddings(model, train, processor, context)
        right = marks(train, context.schema)
        centroids = _unit(right.T.astype(np.float64) @ vectors)
        bars = _bars(vectors @ centroids.T, right) if context.schema.get("multi_label") else 0.0
        learned = time.perf_counter()
        asked, _ = _embeddings(model, test, processor, context)
        logits = np.where(right.any(axis=0), SHARPNESS * (asked @ centroids.T - bars), NEVER)
        flop = 2.0 * tokens * _layer_parameters(model)
        return BaselineResult({"logits": logits}, learned - start, time.perf_counter() - learned, flop)


def _unit(rows: Any) -> Any:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _bars(cosines: Any, right: Any) -> Any:
    """For each class the cosine with the best F1 on the training rows, [classes]."""
    bars = np.zeros(right.shape[1])
    for column in range(right.shape[1]):
        order = np.argsort(-cosines[:, column])
        hits = np.cumsum(right[order, column])
        f1 = 2 * hits / (np.arange(1, len(hits) + 1) + max(hits[-1], 1))
        bars[column] = cosines[order[int(f1.argmax())], column]
    return bars


def _embeddings(model: Any, examples: Sequence[Example], processor: Any, context: BaselineContext) -> tuple[Any, int]:
    """Unit vectors [rows, hidden] and the number of tokens read."""
    import torch

    items = [
        {name: value for name, value in item.items() if name != "labels"}
        for item in context.task.encode(examples, processor, context.schema)
    ]
    lengths = np.array([context.task.length(item) for item in items])
    order = np.argsort(lengths, kind="stable")
    parts, start = [], 0
    with torch.inference_mode():
        while start < len(order):
            end = start + 1
            while end < len(order) and lengths[order[end]] * (end + 1 - start) <= BATCH_TOKENS:
                end += 1
            batch = context.task.collate([items[row] for row in order[start:end]])
            outputs = model(**{name: torch.as_tensor(value) for name, value in batch.items()})
            parts.append(outputs["embedding"].float().numpy())
            start = end
    joined = np.concatenate(parts)
    vectors = np.empty_like(joined, dtype=np.float64)
    vectors[order] = joined
    return _unit(vectors), int(lengths.sum())


def _layer_parameters(model: Any) -> int:
    """Parameters that multiply: matrices, without the look-up tables."""
    import torch

    return sum(module.weight.numel() for module in model.modules() if isinstance(module, torch.nn.Linear))


plugin = NearestCentroid()
