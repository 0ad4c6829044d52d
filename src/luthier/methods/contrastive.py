"""Contrastive fine-tuning for few labels: rows of one class are drawn together and apart from all others, then an output layer is fitted.

The idea of SetFit (Tunstall et al. 2022, arXiv 2209.11055): n rows give about n^2 pairs to learn from. Here a batch holds several rows of
several classes and every pair in it counts, by the supervised contrastive loss (Khosla et al. 2020, arXiv 2004.11362), so that a pair
costs no pass of its own through the encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from luthier.core.plan import TrainPlan
from luthier.methods._whole import Whole

TOGETHER = 4
"""Rows of a class that stand in a batch together, where it has so many."""

_SAME: dict[str, Any] = {"batch_tokens": 1024, "dropout": 0.1, "average_share": 0.0, "patience": 0, "fitted_head": False}
_EFFORTS: dict[str, dict[str, Any]] = {
    "quick": {**_SAME, "epochs": 4, "learning_rate": 1e-4, "head_learning_rate": 0.02},
    "standard": {**_SAME, "epochs": 10, "learning_rate": 1e-4, "head_learning_rate": 0.02},
    "best": {**_SAME, "epochs": 20, "learning_rate": 1e-4, "head_learning_rate": 0.02},
}


class Contrast:
    """The objective: cosines of a batch's vectors, those of one class near and the others far."""

    def batches(self, strata: Any, lengths: Any, plan: TrainPlan, seed: int, epoch: int) -> list[Any]:
        """Each row once: every class dealt into bunches of about four rows, the bunches mixed and packed by ``plan.batch_tokens``."""
        random = np.random.default_rng([seed, epoch])
        bunches: list[Any] = []
        for number in np.unique(strata):
            own = random.permutation(np.flatnonzero(strata == number))
            bunches += np.array_split(own, max(1, len(own) // TOGETHER))
        packed: list[list[Any]] = [[]]
        longest = rows = 0
        for at in random.permutation(len(bunches)):
            bunch = bunches[at]
            wide = max(longest, int(lengths[bunch].max()))
            full = rows + len(bunch) > plan.batch_rows if plan.batch_rows else (rows + len(bunch)) * wide > plan.batch_tokens
            if packed[-1] and full:
                packed.append([])
                wide, rows = int(lengths[bunch].max()), 0
            packed[-1].append(bunch)
            longest, rows = wide, rows + len(bunch)
        return [np.concatenate(batch) for batch in packed]

    def loss(self, outputs: Mapping[str, Any], batch: Mapping[str, Any], plan: TrainPlan) -> Any:
        """Supervised contrastive loss; 0 for a batch in which no two rows share a class."""
        import torch

        vectors = torch.nn.functional.normalize(outputs["embedding"].float(), dim=-1)
        labels = batch["labels"]
        same = labels[:, None] == labels[None, :] if labels.ndim == 1 else (labels[:, None] == labels[None, :]).all(-1)
        itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
        chances = torch.log_softmax((vectors @ vectors.T / plan.contrast_temperature).masked_fill(itself, -1e9), dim=-1)
        friends = same & ~itself
        count = friends.sum(dim=1)
        each = -(chances * friends).sum(dim=1) / count.clamp(min=1)
        return each.sum() / (count > 0).sum().clamp(min=1)


class Contrastive(Whole):
    """See the module. Validation fits the output layer on the vectors of that moment, as does the end."""

    name = "contrastive"
    summary = "few labels: rows of one class are drawn together, then the output layer is fitted"
    search: ClassVar[dict[str, str]] = {
        "train.learning_rate": "log:3e-5:5e-4",
        "train.contrast_temperature": "log:0.03:0.3",
        "train.epochs": "int:3:20",
    }

    def defaults(self, effort: str) -> dict[str, Any]:
        """Epochs and learning rate; measured on BANKING77 with 8 and 16 rows a class (``design/LOG.md``)."""
        return dict(_EFFORTS[effort])

    def objective(self, plan: TrainPlan) -> Contrast:
        """Learns by pairs instead of the task's loss."""
        return Contrast()


plugin = Contrastive()
