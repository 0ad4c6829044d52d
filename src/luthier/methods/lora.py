"""LoRA: small low-rank matrices beside the frozen ones learn, and are added into them at the end (Hu et al. 2021, arXiv 2106.09685)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from luthier.core.errors import NotPossible
from luthier.core.plan import TrainPlan
from luthier.core.ports import Footprint
from luthier.methods._shape import Shape, freeze_trunk, shape, training_bytes

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


ENCODER_TARGETS = ("query", "value")
"""Of an encoder, where nobody names any: on all linear layers it was slower than full fine-tuning on a CPU (``docs/train.md``)."""


class Lora:
    """See the module. Which layers get an adapter follows from the model: of an encoder query and value, of a decoder every linear layer
    but the output layer (Dettmers et al. 2023, arXiv 2305.14314: all are needed to match full fine-tuning).
    """

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

        linear = _linear(model.trunk)
        targets = _targets(model.trunk, linear, plan.lora_targets)
        freeze_trunk(model)
        turned = any(hasattr(linear[name], "nf") for name in targets)  # GPT-2's Conv1D holds its matrix transposed
        config = LoraConfig(
            r=plan.lora_rank,
            lora_alpha=plan.lora_alpha,
            lora_dropout=0.0,
            target_modules=targets,
            bias="none",
            fan_in_fan_out=turned,
        )
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
        trained = form.layers * plan.lora_rank * _widths(form, plan.lora_targets)
        flop = 2.0 * form.forward_flop(tokens) + 6.0 * trained
        return Footprint(trained, flop, 0.0, training_bytes(form, trained, form.layers, tokens_per_batch, plan))


def _linear(trunk: Any) -> dict[str, Any]:
    """The trunk's linear layers by name, without a language model's output layer."""
    import torch
    from transformers.pytorch_utils import Conv1D

    last = trunk.get_output_embeddings() if hasattr(trunk, "get_output_embeddings") else None
    return {name: one for name, one in trunk.named_modules() if isinstance(one, torch.nn.Linear | Conv1D) and one is not last}


def _targets(trunk: Any, linear: Mapping[str, Any], wanted: Sequence[str]) -> list[str]:
    """Full names of the layers that get an adapter: those that are wanted, by the last part of their name, else the architecture's own."""
    writes = hasattr(trunk, "get_output_embeddings") and trunk.get_output_embeddings() is not None
    if writes and not wanted:
        return list(linear)
    asked = list(wanted or ENCODER_TARGETS)
    leaves = {alias for target in asked for alias in _ALIASES.get(target, (target,))}
    found = [name for name in linear if name.rsplit(".", 1)[-1] in leaves]
    if not found:
        known = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in linear}))
        raise NotPossible(
            f"train.lora_targets: {type(trunk).__name__} has no linear layer named {', '.join(asked)}",
            f"name the last part of a linear layer's name; it has {known}",
        )
    return found


def _widths(form: Shape, wanted: Sequence[str]) -> int:
    """Inputs and outputs of one layer's adapted matrices, added up: what a rank costs. Named ones count as square."""
    if wanted or not form.decoder:
        return 2 * form.hidden * len(wanted or ENCODER_TARGETS)
    attention = (6 + 2 * form.key_share) * form.hidden
    return round(attention + (3 if form.gated else 2) * (form.hidden + form.inner))


plugin = Lora()
