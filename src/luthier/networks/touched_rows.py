"""Word vectors of which a training step sees only the rows that its texts use, instead of a gradient as large as the vocabulary.

Half of a small BERT is its table of word vectors, and a batch touches about one row in a hundred. A dense gradient is filled with zeros,
normed, and run through the optimizer for all of them. ``TouchedRows`` takes the used rows out, lets the gradient flow to these, and
hands them to the optimizer as ``touched``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class TouchedRows(nn.Module):
    """Stands in for an ``nn.Embedding`` while training; shares its ``weight`` [rows, width], which autograd does not see.

    A step may take several forward passes (a batch in pieces, pairs of answers): what they touched is kept until ``forget``.
    """

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        self.table = table
        self.weight = table.weight
        self._passes: list[tuple[torch.Tensor, torch.Tensor]] = []

    @property
    def touched(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """(row numbers [used] int64 sorted, their values [used, width] with ``.grad`` after backward) of all forward passes in training
        since ``forget``; ``None`` when there was none.
        """
        if len(self._passes) < 2:
            return self._passes[0] if self._passes else None
        used, places = torch.unique(torch.cat([one for one, _ in self._passes]), return_inverse=True)
        rows = self.weight.detach().index_select(0, used)
        rows.grad = torch.zeros_like(rows)
        for (_, own), at in zip(self._passes, places.split([len(one) for one, _ in self._passes]), strict=True):
            if own.grad is not None:
                rows.grad.index_add_(0, at, own.grad)
        return used, rows

    def forget(self) -> None:
        """The step is over: nothing is touched."""
        self._passes = []

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """[B,S] int64 to [B,S,width]."""
        if not (self.training and torch.is_grad_enabled()):
            return nn.functional.embedding(ids, self.weight)
        used, places = torch.unique(ids, return_inverse=True)
        rows = self.weight.detach().index_select(0, used).requires_grad_(True)
        self._passes.append((used, rows))
        return nn.functional.embedding(places, rows)


def put_in(trunk: Any) -> TouchedRows | None:
    """Replaces the trunk's word vectors, if they learn and nothing else shares them; ``None`` when it left them as they are."""
    getter = getattr(trunk, "get_input_embeddings", None)
    table = getter() if getter is not None else None
    if not isinstance(table, nn.Embedding) or not table.weight.requires_grad or table.max_norm is not None:
        return None
    holders = [name for name, parameter in trunk.named_parameters(remove_duplicate=False) if parameter is table.weight]
    if len(holders) != 1:
        return None
    stand_in = TouchedRows(table)
    table.weight.requires_grad_(False)
    trunk.set_input_embeddings(stand_in)
    return stand_in


def take_out(trunk: Any, stand_in: TouchedRows | None) -> None:
    """Puts the plain table back."""
    if stand_in is not None:
        stand_in.table.weight.requires_grad_(True)
        trunk.set_input_embeddings(stand_in.table)
