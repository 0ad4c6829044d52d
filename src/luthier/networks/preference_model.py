"""A decoder that reads two answers to one conversation and says how likely it finds each; what preference tuning learns by."""

from __future__ import annotations

from pathlib import Path

import torch

from luthier.networks import language_model
from luthier.networks.language_model import LanguageModel


class PreferenceModel(LanguageModel):
    """A ``LanguageModel`` of the preferred answer, whose outputs have ``rejected_loss_sum`` [B] (nats) too, where the other is given.

    It has no weights of its own: what it saves is a language model.
    """

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        loss_mask: torch.Tensor | None = None,
        rejected_ids: torch.Tensor | None = None,
        rejected_mask: torch.Tensor | None = None,
        reference: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """``rejected_ids`` [B,S'], of which ``rejected_mask`` marks the tokens that count; ``reference`` [B,1] is handed through ([B])."""
        found = super().forward(input_ids, attention_mask, loss_mask)
        if rejected_ids is not None:
            found["rejected_loss_sum"] = super().forward(rejected_ids, None, rejected_mask)["loss_sum"]
        return found if reference is None else found | {"reference": reference[:, 0]}


def load(folder: Path, *, dropout: float = 0.0, pretrained: bool = True, seed: int = 0) -> PreferenceModel:
    """As ``language_model.load``."""
    return PreferenceModel(language_model.load(folder, dropout=dropout, pretrained=pretrained, seed=seed).decoder)
