"""Nothing learns: the untouched base model with a new output layer, so that the whole house is walked in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from luthier.core.plan import TrainPlan
from luthier.core.ports import Footprint
from luthier.methods._shape import freeze_trunk, shape, training_bytes


class Dummy:
    """See the module. One epoch over one vector a text; the output layer hardly moves."""

    name = "dummy"
    summary = "learns next to nothing: for trying out the stages"

    def defaults(self, effort: str) -> dict[str, Any]:
        """One epoch that changes nothing to speak of."""
        return {"epochs": 1, "learning_rate": 1e-9, "head_learning_rate": 1e-9, "batch_tokens": 4096, "patience": 0, "average_share": 0.0}

    def cut(self, plan: TrainPlan, depth: int) -> int:
        """The whole trunk."""
        return depth

    def apply(self, model: Any, plan: TrainPlan) -> Any:
        """Only the output layer may move."""
        freeze_trunk(model)
        return model

    def merge(self, model: Any) -> Any:
        """The model as it is."""
        return model

    def footprint(self, card: Mapping[str, Any], plan: TrainPlan, tokens_per_batch: int) -> Footprint:
        """The trunk once."""
        form = shape(card)
        tokens = int(card.get("tokens") or 16)
        return Footprint(0, 0.0, form.layers * form.layer_flop(tokens), training_bytes(form, 0, 0, tokens_per_batch, plan))


plugin = Dummy()
