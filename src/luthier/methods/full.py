"""Full fine-tuning: every weight learns. Best accuracy, most work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from luthier.core.plan import TrainPlan
from luthier.core.ports import Footprint
from luthier.methods._shape import shape, training_bytes

_SAME: dict[str, Any] = {"batch_tokens": 640, "fitted_head": True}
_EFFORTS: dict[str, dict[str, Any]] = {
    "quick": {**_SAME, "epochs": 2, "learning_rate": 1.6e-4, "head_learning_rate": 1e-3, "average_share": 0.0, "patience": 0},
    "standard": {**_SAME, "epochs": 4, "learning_rate": 1.2e-4, "head_learning_rate": 6e-4, "average_share": 0.0, "patience": 2},
    "best": {**_SAME, "epochs": 5, "learning_rate": 1.2e-4, "head_learning_rate": 6e-4, "average_share": 0.25, "patience": 3},
}


class Full:
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

    def cut(self, plan: TrainPlan, depth: int) -> int:
        """Nothing is frozen."""
        return 0

    def apply(self, model: Any, plan: TrainPlan) -> Any:
        """The model as it is."""
        return model

    def merge(self, model: Any) -> Any:
        """The model as it is."""
        return model

    def footprint(self, card: Mapping[str, Any], plan: TrainPlan, tokens_per_batch: int) -> Footprint:
        """Forward and backward through every layer: three times the forward FLOP."""
        form = shape(card)
        tokens = int(card.get("tokens") or 16)
        flop = 3.0 * form.forward_flop(tokens)
        return Footprint(form.parameters, flop, 0.0, training_bytes(form, form.parameters, form.layers, tokens_per_batch))


plugin = Full()
