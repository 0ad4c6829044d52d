"""Full fine-tuning: every weight learns. Best accuracy, most work."""

from __future__ import annotations

from typing import Any, ClassVar

from luthier.methods._whole import Whole

_SAME: dict[str, Any] = {"batch_tokens": 640, "fitted_head": True}
_EFFORTS: dict[str, dict[str, Any]] = {
    "quick": {**_SAME, "epochs": 2, "learning_rate": 1.6e-4, "head_learning_rate": 1e-3, "average_share": 0.0, "patience": 0},
    "standard": {**_SAME, "epochs": 4, "learning_rate": 1.2e-4, "head_learning_rate": 6e-4, "average_share": 0.0, "patience": 2},
    "best": {**_SAME, "epochs": 5, "learning_rate": 1.2e-4, "head_learning_rate": 6e-4, "average_share": 0.25, "patience": 3},
}


class Full(Whole):
    """See the module."""

    name = "full"
    summary = "every weight learns: best accuracy, most work"
    search: ClassVar[dict[str, str]] = {
        "train.learning_rate": "log:3e-5:4e-4",
        "train.head_learning_rate": "log:1e-4:5e-3",
        "train.epochs": "int:2:8",
        "train.label_smoothing": "0:0.2",
        "train.dropout": "0:0.3",
    }

    def defaults(self, effort: str) -> dict[str, Any]:
        """Epochs, learning rates and batch size; measured on BANKING77 (``design/LOG.md``)."""
        return dict(_EFFORTS[effort])


plugin = Full()
