"""Top layers only: the lower layers are frozen, their output is computed once and kept, and each epoch trains the upper layers on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from luthier.core.errors import NotPossible
from luthier.core.plan import TrainPlan
from luthier.core.ports import Footprint
from luthier.methods._shape import freeze_trunk, shape, training_bytes

_SAME: dict[str, Any] = {"batch_tokens": 640, "fitted_head": True}
_EFFORTS: dict[str, dict[str, Any]] = {
    "quick": {**_SAME, "epochs": 3, "learning_rate": 3e-4, "head_learning_rate": 1e-3, "average_share": 0.0, "patience": 0},
    "standard": {**_SAME, "epochs": 6, "learning_rate": 3e-4, "head_learning_rate": 1e-3, "average_share": 0.0, "patience": 2},
    "best": {**_SAME, "epochs": 12, "learning_rate": 2e-4, "head_learning_rate": 6e-4, "average_share": 0.25, "patience": 3},
}


class Top:
    """See the module. Caching frozen activations: AutoFreeze (Liu et al. 2021, arXiv 2102.01386)."""

    name = "top"
    summary = "the upper layers learn on cached output of the frozen lower ones: several times faster"
    search: ClassVar[dict[str, str]] = {
        "train.learning_rate": "log:5e-5:1e-3",
        "train.head_learning_rate": "log:1e-4:5e-3",
        "train.epochs": "int:3:12",
        "train.label_smoothing": "0:0.2",
        "train.dropout": "0:0.3",
    }

    def defaults(self, effort: str) -> dict[str, Any]:
        """Epochs are cheap here, so there are more of them."""
        return dict(_EFFORTS[effort])

    def cut(self, plan: TrainPlan, depth: int) -> int:
        """All layers below the upper ``plan.top_layers``."""
        if plan.top_layers >= depth:
            raise NotPossible(
                f"train.top_layers is {plan.top_layers}, but the model has {depth} layers: none is left to freeze",
                f"set train.top_layers below {depth}, or train.method=full",
            )
        return depth - plan.top_layers

    def apply(self, model: Any, plan: TrainPlan) -> Any:
        """Only the upper layers and the output layer learn."""
        layers = model.layers
        if layers is None:
            raise NotPossible(
                f"method top: {type(model.trunk).__name__} cannot be cut between two layers", "use train.method=head or train.method=full"
            )
        freeze_trunk(model)
        for layer in layers[self.cut(plan, model.depth) :]:
            for parameter in layer.parameters():
                parameter.requires_grad_(True)
        return model

    def merge(self, model: Any) -> Any:
        """The model as it is."""
        return model

    def footprint(self, card: Mapping[str, Any], plan: TrainPlan, tokens_per_batch: int) -> Footprint:
        """Three times the forward FLOP of the upper layers; the lower ones once, for the cache."""
        form = shape(card)
        tokens = int(card.get("tokens") or 16)
        upper = min(plan.top_layers, form.layers)
        trained = upper * form.layer_parameters
        memory = training_bytes(form, trained, upper, tokens_per_batch, plan)
        return Footprint(trained, 3.0 * upper * form.layer_flop(tokens), (form.layers - upper) * form.layer_flop(tokens), memory)


plugin = Top()
