"""Output layer only: each text is turned into one vector once, and a linear layer is trained on these vectors in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from luthier.core.plan import TrainPlan
from luthier.core.ports import Footprint
from luthier.methods._shape import freeze_trunk, shape, training_bytes

_SAME: dict[str, Any] = {"batch_tokens": 256, "dropout": 0.0, "weight_decay": 0.01, "label_smoothing": 0.1, "average_share": 0.0}
_EFFORTS: dict[str, dict[str, Any]] = {
    "quick": {**_SAME, "epochs": 20, "learning_rate": 0.02, "head_learning_rate": 0.02, "patience": 0},
    "standard": {**_SAME, "epochs": 40, "learning_rate": 0.02, "head_learning_rate": 0.02, "patience": 10},
    "best": {**_SAME, "epochs": 80, "learning_rate": 0.02, "head_learning_rate": 0.02, "patience": 20},
}


class Head:
    """See the module. ``batch_tokens`` counts rows here: a row is one vector."""

    name = "head"
    summary = "one vector a text, computed once; only the output layer learns: seconds"
    search: ClassVar[dict[str, str]] = {
        "train.head_learning_rate": "log:1e-3:0.1",
        "train.epochs": "int:10:80",
        "train.label_smoothing": "0:0.3",
        "train.weight_decay": "log:1e-4:1",
    }

    def defaults(self, effort: str) -> dict[str, Any]:
        """Many cheap epochs over cached vectors."""
        return dict(_EFFORTS[effort])

    def cut(self, plan: TrainPlan, depth: int) -> int:
        """The whole trunk."""
        return depth

    def apply(self, model: Any, plan: TrainPlan) -> Any:
        """Only the output layer learns."""
        freeze_trunk(model)
        return model

    def merge(self, model: Any) -> Any:
        """The model as it is."""
        return model

    def footprint(self, card: Mapping[str, Any], plan: TrainPlan, tokens_per_batch: int) -> Footprint:
        """The trunk once for the cache; training itself is next to nothing."""
        form = shape(card)
        tokens = int(card.get("tokens") or 16)
        trained = form.hidden * int(card.get("classes") or 2)
        memory = training_bytes(form, trained, 0, tokens_per_batch, plan)
        return Footprint(trained, 6.0 * trained, form.layers * form.layer_flop(tokens), memory)


plugin = Head()
