"""What methods share in which every weight of the model learns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from luthier.core.plan import TrainPlan
from luthier.core.ports import Footprint
from luthier.methods._shape import shape, training_bytes


class Whole:
    """Nothing is frozen, put in or taken out."""

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
        flop = 3.0 * form.forward_flop(int(card.get("tokens") or 16))
        return Footprint(form.parameters, flop, 0.0, training_bytes(form, form.parameters, form.layers, tokens_per_batch, plan))
