"""A decoder that reads a text and says how likely each of its tokens was; what a GPT learns by, and what its perplexity is made of.

The losses are summed inside the network: logits over a vocabulary are the largest array of all and leave it only for generation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from luthier.core.errors import NotPossible
from luthier.networks.pretrained import config_in, depth_of, untied, weights_in, write

DROPOUTS = ("attention_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop")
"""What decoders' configurations call it."""


class LanguageModel(nn.Module):
    """``forward`` gives ``loss_sum`` (nats), ``predicted`` (tokens that count) and, unless it is being trained (5 % of a step on a CPU),
    ``correct`` (of these, guessed rightly), [B] each.

    ``decoder`` is any causal language model of transformers.
    """

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder
        self.config: Any = decoder.config

    @property
    def trunk(self) -> nn.Module:
        """The pre-trained part: all of it, since nothing is new."""
        return self.decoder

    @property
    def depth(self) -> int:
        """Number of layers."""
        return depth_of(self.config)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, loss_mask: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """``input_ids`` [B,S]; ``attention_mask`` [B,S]: 0 for padding at the end; ``loss_mask`` [B,S]: 1 for tokens that count (all).

        A text's first token is given, not predicted. Padding at the end needs no mask in a causal model: only the sums leave it out.
        """
        counted = counted_of(input_ids, attention_mask, loss_mask)
        hidden = self.decoder.get_submodule(self.decoder.base_model_prefix)(input_ids=input_ids, use_cache=False).last_hidden_state
        logits = self.decoder.get_output_embeddings()(hidden[:, :-1])
        return judged(logits, input_ids[:, 1:], counted, training=self.training)

    def lower(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, cut: int) -> torch.Tensor:
        """Not possible yet: a language model is trained whole or with adapters."""
        raise NotPossible("a language model cannot be cut into a frozen and a learning part", "use method full or lora")

    def upper(self, hidden: torch.Tensor, attention_mask: torch.Tensor | None, cut: int) -> dict[str, torch.Tensor]:
        """Not possible yet, see ``lower``."""
        raise NotPossible("a language model cannot be cut into a frozen and a learning part", "use method full or lora")

    def save(self, folder: Path) -> None:
        """``model.safetensors`` and ``config.json``, as transformers names them; tied word vectors once."""
        write(folder, untied(self.decoder), self.config)


def judged(logits: torch.Tensor, right: torch.Tensor, counted: torch.Tensor, *, training: bool) -> dict[str, torch.Tensor]:
    """What a ``LanguageModel`` gives, of ``logits`` [B,S,words], the tokens that were right and what counts of them, [B,S] each."""
    losses = functional.cross_entropy(logits.flatten(0, 1).float(), right.flatten(), reduction="none").view(right.shape)
    found = {"loss_sum": (losses * counted).sum(dim=1), "predicted": counted.sum(dim=1)}
    if not training:
        found["correct"] = ((logits.argmax(dim=-1) == right).float() * counted).sum(dim=1)
    return found


def counted_of(ids: torch.Tensor, attention: torch.Tensor | None, loss: torch.Tensor | None) -> torch.Tensor:
    """[B,S-1] float: 1 where the prediction of the next token counts."""
    counted = torch.ones_like(ids[:, 1:], dtype=torch.float32)
    for mask in (attention, loss):
        if mask is not None:
            counted = counted * mask[:, 1:].to(counted.dtype)
    return counted


def load(folder: Path, *, dropout: float = 0.0, pretrained: bool = True, seed: int = 0) -> LanguageModel:
    """The decoder in a folder; ``pretrained=False``: the same shape with random weights that ``seed`` decides.

    Raises ``UnsafeFile`` for pickled weights and ``Damaged`` for weights that do not fit or are missing.
    """
    from transformers import AutoModelForCausalLM

    config = config_in(folder, dropout, DROPOUTS)
    torch.manual_seed(seed)
    if pretrained:
        return LanguageModel(weights_in(folder, AutoModelForCausalLM, config))
    return LanguageModel(AutoModelForCausalLM.from_config(config, dtype=torch.float32))
