"""LoRA: small low-rank matrices beside the frozen ones learn, and are added into them at the end (Hu et al. 2021, arXiv 2106.09685)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from luthier.core.errors import NotPossible
from luthier.core.plan import TrainPlan
from luthier.core.ports import Footprint
from luthier.methods._shape import freeze_trunk, shape, training_bytes

_SAME: dict[str, Any] = {"batch_tokens": 640, "fitted_head": True}
_EFFORTS: dict[str, dict[str, Any]] = {
    "quick": {**_SAME, "epochs": 3, "learning_rate": 1.5e-3, "head_learning_rate": 1e-3, "average_share": 0.0, "patience": 0},
    "standard": {**_SAME, "epochs": 6, "learning_rate": 1.5e-3, "head_learning_rate": 1e-3, "average_share": 0.0, "patience": 2},
    "best": {**_SAME, "epochs": 10, "learning_rate": 1e-3, "head_learning_rate": 6e-4, "average_share": 0.25, "patience": 3},
}
_ALIASES: dict[str, tuple[str, ...]] = {
    "query": ("query", "q_lin", "q_proj", "query_proj"),
    "key": ("key", "k_lin", "k_proj", "key_proj"),
    "value": ("value", "v_lin", "v_proj", "value_proj"),
}
"""What architectures call the attention's projections."""


class Lora:
    """See the module. On query and value only: on all linear layers it was slower than full fine-tuning on a CPU (``docs/train.md``)."""

    name = "lora"
    summary = "small matrices beside the frozen ones learn: little memory, merged at the end"
    search: ClassVar[dict[str, str]] = {
        "train.learning_rate": "log:3e-4:5e-3",
        "train.head_learning_rate": "log:1e-4:5e-3",
        "train.lora_rank": "4,8,16,32",
        "train.epochs": "int:3:12",
        "train.label_smoothing": "0:0.2",
    }

    def defaults(self, effort: str) -> dict[str, Any]:
        """Ten times the learning rate of full fine-tuning."""
        return dict(_EFFORTS[effort])

    def cut(self, plan: TrainPlan, depth: int) -> int:
        """Every layer learns, so none is cached."""
        return 0

    def apply(self, model: Any, plan: TrainPlan) -> Any:
        """Adapters put in beside the target matrices; raises ``NotPossible`` when none has such a name."""
        from peft import LoraConfig, inject_adapter_in_model

        names = {name.rsplit(".", 1)[-1] for name, _ in model.trunk.named_modules()}
        targets = [alias for target in plan.lora_targets for alias in _ALIASES.get(target, (target,)) if alias in names]
        if not targets:
            wanted = ", ".join(plan.lora_targets)
            raise NotPossible(
                f"train.lora_targets: {type(model.trunk).__name__} has no layer named {wanted}",
                "name the last part of a linear layer's name, e.g. query",
            )
        freeze_trunk(model)
        config = LoraConfig(r=plan.lora_rank, lora_alpha=plan.lora_alpha, lora_dropout=0.0, target_modules=targets, bias="none")
        inject_adapter_in_model(config, model.trunk)
        return model

    def merge(self, model: Any) -> Any:
        """The products of the adapters added into their matrices, and the adapters taken out."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        for name, module in list(model.trunk.named_modules()):
            if isinstance(module, BaseTunerLayer):
                module.merge()
                parent, _, leaf = name.rpartition(".")
                setattr(model.trunk.get_submodule(parent), leaf, module.get_base_layer())
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        return model

    def footprint(self, card: Mapping[str, Any], plan: TrainPlan, tokens_per_batch: int) -> Footprint:
        """No gradients of frozen matrices: twice the forward FLOP."""
        form = shape(card)
        tokens = int(card.get("tokens") or 16)
        trained = form.layers * len(plan.lora_targets) * 2 * plan.lora_rank * form.hidden
        flop = 2.0 * form.forward_flop(tokens) + 6.0 * trained
        return Footprint(trained, flop, 0.0, training_bytes(form, trained, form.layers, tokens_per_batch))


plugin = Lora()
