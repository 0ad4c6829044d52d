"""Training on one vector an item: all of them in one matrix, so that a batch is one look-up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from luthier.core.types import Item
from luthier.stages.inference import HIDDEN


class Pooled:
    """The vectors and labels of ``items`` on a device."""

    def __init__(self, items: Sequence[Item], device: str) -> None:
        import torch

        self.hidden = torch.as_tensor(np.stack([item[HIDDEN] for item in items]).astype(np.float32)).to(device)
        self.labels = torch.as_tensor(np.stack([item["labels"] for item in items])).to(device)

    def batch(self, numbers: Any) -> dict[str, Any]:
        """``hidden`` [B, width] float32 and ``labels`` of the items of these numbers."""
        import torch

        chosen = torch.as_tensor(numbers).to(self.hidden.device)
        return {HIDDEN: self.hidden.index_select(0, chosen), "labels": self.labels.index_select(0, chosen)}
