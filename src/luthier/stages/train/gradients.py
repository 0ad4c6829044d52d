"""The gradients of one batch: computed at once, or in pieces (``train.accumulation``) that add up to the same.

A mean over a batch is no mean of its pieces' means: each piece counts by what the task says it holds (learned tokens, rows). Losses that
are no mean over rows (pairs of a batch, several means in one) take two passes, as GradCache does (Gao et al. 2021, arXiv 2101.06983): one
without gradients gives the outputs of all pieces, the loss of the whole batch gives their gradients, and a second pass carries these back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luthier.core.hooks import counted
from luthier.core.ports import Objective
from luthier.stages.inference import forward
from luthier.stages.train.request import FitRequest, autocast

BatchOf = Callable[[Any], dict[str, Any]]
"""Item numbers to a batch of tensors."""


@dataclass(frozen=True)
class Gradients:
    """What a training's batches do to its model. ``weights``: of classes, or ``None``; ``cut``: layers that are cached."""

    request: FitRequest
    model: Any
    objective: Objective | None
    weights: Any
    cut: int

    def add(self, numbers: Any, batch_of: BatchOf, seed: int) -> float:
        """Adds the gradients of the batch of these items to those of the parameters; its loss. All chance follows from ``seed``."""
        import torch

        torch.manual_seed(seed)
        pieces = np.array_split(numbers, min(self.request.plan.accumulation, len(numbers)))
        if len(pieces) == 1:
            return self._pass(batch_of(numbers), seed)
        batches = [batch_of(piece) for piece in pieces]
        shares = [self._counted(batch) for batch in batches]
        if None in shares:
            return self._two_passes(batches, batch_of(numbers), seed)
        whole = sum(share or 0.0 for share in shares) or 1.0
        parts = ((batch, (share or 0.0) / whole) for batch, share in zip(batches, shares, strict=True))
        return sum(self._pass(batch, seed + number, share) for number, (batch, share) in enumerate(parts))

    def _counted(self, batch: Mapping[str, Any]) -> float | None:
        return None if self.objective is not None else counted(self.request.task, batch, self.request.schema, self.weights)

    def _pass(self, batch: dict[str, Any], seed: int, share: float = 1.0) -> float:
        outputs = self._forward(batch, seed)
        with autocast(self.request):
            loss = self._loss(outputs, batch)
        (loss if share == 1.0 else loss * share).backward()
        return float(loss.detach()) * share

    def _two_passes(self, batches: Sequence[dict[str, Any]], whole: Mapping[str, Any], seed: int) -> float:
        import torch

        with torch.no_grad():
            parts = [self._forward(batch, seed + number) for number, batch in enumerate(batches)]
        outputs = {name: _joined([part[name] for part in parts]) for name in parts[0]}
        with autocast(self.request):
            loss = self._loss(outputs, whole)
        loss.backward()
        start = 0
        for number, batch in enumerate(batches):
            again = self._forward(batch, seed + number)
            end = start + len(next(iter(again.values())))
            back = {name: one for name, one in again.items() if one.requires_grad and outputs[name].grad is not None}
            grads = [outputs[name].grad[(slice(start, end), *(slice(0, size) for size in one.shape[1:]))] for name, one in back.items()]
            torch.autograd.backward(list(back.values()), [grad.to(one.dtype) for grad, one in zip(grads, back.values(), strict=True)])
            start = end
        return float(loss.detach())

    def _forward(self, batch: dict[str, Any], seed: int) -> dict[str, Any]:
        import torch

        torch.manual_seed(seed)
        with autocast(self.request):
            found: dict[str, Any] = forward(self.model, batch, self.cut)
        return found

    def _loss(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
        request = self.request
        if self.objective is not None:
            return self.objective.loss(outputs, batch, request.plan)
        return request.task.loss(outputs, batch, request.schema, request.plan, self.weights)


def _joined(parts: Sequence[Any]) -> Any:
    """[b, ...] of several pieces as one [B, ...], padded with 0 at the end of the other axes, as a leaf that takes a gradient."""
    import torch

    shape = [sum(len(part) for part in parts), *(max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True))]
    out = torch.zeros(shape, dtype=parts[0].dtype, device=parts[0].device)
    start = 0
    for part in parts:
        out[(slice(start, start + len(part)), *(slice(0, size) for size in part.shape[1:]))] = part
        start += len(part)
    return out.requires_grad_(out.is_floating_point())
