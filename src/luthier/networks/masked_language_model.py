"""An encoder that guesses masked tokens (Devlin et al. 2019, arXiv 1810.04805): how it learns a domain's language before a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from luthier.networks import encoder_classifier
from luthier.networks.pretrained import WEIGHTS, depth_of, write

MASKED = 0.15
"""Share of the tokens that are to be guessed; of these 80 % stand as the mask, 10 % as another token, 10 % as they are."""

_KNOWN_HEADS: tuple[tuple[str, str, str], ...] = (
    ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"),
    ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
    ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
)
"""What BERT, RoBERTa and DistilBERT call the layers before the word vectors, where a base model still has them."""


class MaskedLanguageModel(nn.Module):
    """``forward(input_ids [B,S], attention_mask [B,S])`` masks tokens by torch's generator and gives ``logits`` [masked, words] and
    ``masked`` [masked], the tokens that stood there.

    The word vectors are the output layer too; as such they are read only, which spares a gradient as large as the vocabulary.
    """

    def __init__(self, encoder: nn.Module, mask_token: int, special: list[int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.config: Any = encoder.config
        width = int(self.config.hidden_size)
        self.transform = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=float(getattr(self.config, "layer_norm_eps", 1e-12)))
        nn.init.eye_(self.transform.weight)
        nn.init.zeros_(self.transform.bias)
        self.bias = nn.Parameter(torch.zeros(self._words().weight.shape[0]))
        self.mask_token, self.special = mask_token, special

    @property
    def trunk(self) -> nn.Module:
        """The pre-trained part."""
        return self.encoder

    @property
    def depth(self) -> int:
        """Number of layers."""
        return depth_of(self.config)

    def _words(self) -> Any:
        return self.encoder.get_input_embeddings()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Guesses of the masked tokens. ``attention_mask=None`` says that nothing is padded."""
        chosen, seen = self.mask(input_ids, attention_mask)
        hidden = self.encoder(input_ids=seen, attention_mask=attention_mask).last_hidden_state[chosen]
        ready = self.norm(nn.functional.gelu(self.transform(hidden)))
        return {"logits": ready @ self._words().weight.detach().T + self.bias, "masked": input_ids[chosen]}

    def mask(self, ids: torch.Tensor, attention_mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Which tokens are to be guessed (bool [B,S], one at the least), and what stands in their place. Never special ones or padding."""
        draws = torch.rand((2, *ids.shape)).to(ids.device)
        others = torch.randint(len(self.bias), ids.shape).to(ids.device)
        allowed = ~torch.isin(ids, torch.tensor(self.special, device=ids.device))
        if attention_mask is not None:
            allowed &= attention_mask.bool()
        draws[0] = draws[0].masked_fill(~allowed, 2.0)
        chosen = (draws[0] < MASKED) | (draws[0] == draws[0].min())
        seen = torch.where(chosen & (draws[1] < 0.8), torch.full_like(ids, self.mask_token), ids)
        return chosen, torch.where(chosen & (draws[1] >= 0.9), others, seen)

    def save_encoder(self, folder: Path) -> None:
        """The encoder alone, as a base model's folder holds it (``config.json`` and ``model.safetensors``)."""
        write(folder, self.encoder.state_dict(), self.config)


def load(folder: Path, pieces: list[list[int]], mask_token: int, special: list[int], *, dropout: float, seed: int) -> MaskedLanguageModel:
    """The network from a base model's folder or from a trained model's. ``pieces``: for each added token, in order of its number, the
    tokens that it was made of before: its word vector begins as their mean.
    """
    encoder = encoder_classifier.load(folder, 2, dropout=dropout, seed=seed).encoder
    if pieces:
        _widen(encoder, pieces)
    torch.manual_seed(seed)
    network = MaskedLanguageModel(encoder, mask_token, special)
    _fill_head(network, folder)
    return network


def _widen(encoder: Any, pieces: list[list[int]]) -> None:
    before = encoder.get_input_embeddings().weight
    first = before.shape[0]
    encoder.resize_token_embeddings(first + len(pieces), mean_resizing=False)
    table = encoder.get_input_embeddings().weight.detach()
    for number, parts in enumerate(pieces):
        table[first + number] = table[torch.tensor(parts)].mean(dim=0)


def _fill_head(network: MaskedLanguageModel, folder: Path) -> None:
    """The base model's own layers for guessing, where its file still holds them."""
    from safetensors import safe_open

    path = folder / WEIGHTS
    if not path.exists():
        return
    with safe_open(path, framework="pt") as held:
        known = set(held.keys())
        for dense, norm, bias in _KNOWN_HEADS:
            if {f"{dense}.weight", f"{dense}.bias", f"{norm}.weight", f"{norm}.bias"} <= known:
                for layer, name in ((network.transform, dense), (network.norm, norm)):
                    layer.weight.detach().copy_(held.get_tensor(f"{name}.weight"))
                    layer.bias.detach().copy_(held.get_tensor(f"{name}.bias"))
                if bias in known:
                    values = held.get_tensor(bias)
                    network.bias.detach()[: len(values)].copy_(values)
