"""Answers of a torch model for many items: batches filled by tokens from items in order of length, outputs in the items' own order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from luthier.core.hooks import pooled_at
from luthier.core.ports import Task
from luthier.core.types import Arrays, Item
from luthier.stages.carried import carry
from luthier.stages.train.batches import sorted_batches

HIDDEN = "hidden"
"""Where an item carries its cached lower part: [tokens, width], or [width] when it is the pooled embedding."""


def lengths_of(task: Task, items: Sequence[Item], *, pooled: bool = False) -> Any:
    """[items] int: positions that each item fills (1 for a pooled vector)."""
    return np.array([1 if pooled else task.length(item) for item in items], dtype=np.int64)


def tensors(task: Task, items: Sequence[Item], *, cut: int = 0, pooled: bool = False, device: str = "cpu") -> dict[str, Any]:
    """One batch as torch tensors. A mask that hides nothing is left out; with ``cut``, ``hidden`` stands for the ids."""
    import torch

    if pooled:
        batch = {HIDDEN: np.stack([item[HIDDEN] for item in items]).astype(np.float32, copy=False)}
        if all("labels" in item for item in items):
            batch["labels"] = np.stack([item["labels"] for item in items])
    else:
        plain = [{key: value for key, value in item.items() if key != HIDDEN} for item in items] if HIDDEN in items[0] else items
        batch = task.collate(plain)
        mask = batch.get("attention_mask")
        if mask is not None and bool(mask.all()):
            del batch["attention_mask"]
        if cut:
            batch.pop("input_ids", None)
            batch[HIDDEN] = _stacked([item[HIDDEN] for item in items])
    return {key: torch.as_tensor(value).to(device) for key, value in batch.items()}


def _stacked(parts: Sequence[Any]) -> Any:
    """[S,H] arrays to [B,S,H] float32, padded with 0."""
    longest = max(len(part) for part in parts)
    if all(len(part) == longest for part in parts):
        return np.stack(parts).astype(np.float32, copy=False)
    out = np.zeros((len(parts), longest, parts[0].shape[1]), dtype=np.float32)
    for row, part in enumerate(parts):
        out[row, : len(part)] = part
    return out


def forward(model: Any, batch: dict[str, Any], cut: int = 0) -> Any:
    """The model's outputs by name for a batch of ``tensors``, from the ids or from the cached lower part."""
    if cut:
        return model.upper(batch[HIDDEN], batch.get("attention_mask"), cut)
    return model(**{key: value for key, value in batch.items() if key != "labels"})


def answers(
    task: Task, model: Any, items: Sequence[Item], *, batch_tokens: int = 2048, cut: int = 0
) -> Iterator[tuple[Any, dict[str, Any], dict[str, Any]]]:
    """For each batch: item numbers, the batch and the outputs (torch tensors)."""
    import torch

    pooled = pooled_at(task, cut, model.depth)
    device = str(next(model.parameters()).device)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for numbers in sorted_batches(lengths_of(task, items, pooled=pooled), batch_tokens):
                batch = tensors(task, [items[n] for n in numbers], cut=cut, pooled=pooled, device=device)
                yield numbers, batch, forward(model, batch, cut)
    finally:
        model.train(was_training)


def gather(parts: Sequence[tuple[Any, dict[str, Any]]], count: int) -> Arrays:
    """Outputs of batches, (item numbers, numpy by name), put in the items' order; positions beyond a batch's own length are 0."""
    out: Arrays = {}
    for numbers, outputs in parts:
        for name, value in outputs.items():
            if name not in out:
                shape = [max(o[name].shape[axis] for _, o in parts) for axis in range(1, value.ndim)]
                out[name] = np.zeros((count, *shape), dtype=value.dtype)
            out[name][(numbers, *(slice(0, size) for size in value.shape[1:]))] = value
    return out


def predict(task: Task, model: Any, items: Sequence[Item], *, batch_tokens: int = 2048, cut: int = 0) -> Arrays:
    """The model's outputs by name, first axis in the order of ``items`` (``logits`` [N,C] and ``embedding`` [N,H] for classification).

    ``cut``: the items carry their cached lower part (``FeatureCache.attach``), and only the layers above it run.
    """
    parts = [
        (numbers, {name: value.float().cpu().numpy() for name, value in outputs.items()})
        for numbers, _, outputs in answers(task, model, items, batch_tokens=batch_tokens, cut=cut)
    ]
    return carry(task, items, gather(parts, len(items)))
