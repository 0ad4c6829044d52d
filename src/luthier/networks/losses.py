"""The losses of a classifier: cross-entropy, and focal loss, which counts rows that are right already for less."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

LEAST = 1e-7
"""Below this a chance of being wrong counts as this: the slope of a root of 0 is infinite."""


def classification(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    several: bool,
    weights: torch.Tensor | None = None,
    smoothing: float = 0.0,
    gamma: float = 0.0,
) -> Any:
    """The mean loss of a batch, a scalar.

    ``logits`` [B,classes]; ``labels`` [B] int64, or [B,classes] of 0 and 1 for ``several`` labels (then ``weights`` weigh the positive
    side). ``smoothing``: label smoothing (Szegedy et al. 2016), one label only. ``gamma`` above 0: each row's (each decision's) loss is
    multiplied by ``(1 - p)^gamma``, p being the chance of what is right: focal loss (Lin et al. 2017, arXiv 1708.02002).
    """
    if several:
        return _several(logits, labels, weights, gamma)
    if not gamma:
        return functional.cross_entropy(logits, labels, weight=weights, label_smoothing=smoothing)
    each = functional.cross_entropy(logits, labels, weight=weights, label_smoothing=smoothing, reduction="none")
    right = functional.log_softmax(logits, dim=-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1).exp()
    counted = weights[labels].sum() if weights is not None else float(len(labels))
    return ((1.0 - right).clamp(min=LEAST) ** gamma * each).sum() / counted


def _several(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None, gamma: float) -> Any:
    if not gamma:
        return functional.binary_cross_entropy_with_logits(logits, labels, pos_weight=weights)
    each = functional.binary_cross_entropy_with_logits(logits, labels, pos_weight=weights, reduction="none")
    wrong = torch.sigmoid(torch.where(labels > 0.5, -logits, logits))
    return (wrong.clamp(min=LEAST) ** gamma * each).mean()
