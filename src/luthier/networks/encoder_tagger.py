"""A transformer encoder that gives every token a tag and, where there are intents, every text its intents: one pass for both.

Intent and tags trained together on one encoder: JointBERT (Chen et al. 2019, arXiv 1902.10909).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from luthier.networks.encoder_classifier import EncoderClassifier, load_network, output_layer

FAR = -1e4
"""Added where there is no token: nothing is left of it after an exponential, also in 16-bit floats."""


class EncoderTagger(EncoderClassifier):
    """``forward(input_ids [B,S], attention_mask [B,S])`` gives ``tag_logits`` [B,S,tags] (0 on padding) and ``embedding`` [B,hidden].

    With ``classes`` above 0 also ``logits`` [B,classes]. ``several``: a text can have several intents; each token then votes for its own
    (``token_logits`` [B,S,classes]) and a text's logit is the log of the mean of the votes' exponentials over its tokens, the special
    ones at both ends left out: one part of the text suffices, and it is seen which.
    """

    kind = "encoder-tagger"
    sizes = {"head": "classes", "tags": "tags"}  # noqa: RUF012 - a network without intents has its own

    def __init__(
        self, encoder: nn.Module, classes: int, tags: int, *, several: bool = False, pooling: str = "mean", dropout: float = 0.0
    ) -> None:
        super().__init__(encoder, max(classes, 1), pooling=pooling, dropout=dropout)
        self.several = several
        self.classes = classes
        if not classes:
            del self.head
            self.sizes = {"tags": "tags"}
        self.tags = output_layer(int(self.config.hidden_size), tags)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """All outputs. ``attention_mask=None`` says that nothing is padded (and is faster)."""
        return self.read(self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state, attention_mask)

    def lower(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, cut: int) -> torch.Tensor:
        """Hidden states [B,S,H] after ``cut`` layers; all of them for ``cut == depth`` too."""
        if cut == self.depth:
            hidden: torch.Tensor = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            return hidden
        return super().lower(input_ids, attention_mask, cut)

    def upper(self, hidden: torch.Tensor, attention_mask: torch.Tensor | None, cut: int) -> dict[str, torch.Tensor]:
        """All outputs from what ``lower`` gave."""
        if cut != self.depth:
            hidden = self._through(self._splittable(cut)[cut:], hidden, attention_mask)
        return self.read(hidden, attention_mask)

    def read(self, hidden: torch.Tensor, mask: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """[B,S,H] to all outputs."""
        dropped = self.dropout(hidden)
        tags = self.tags(dropped)
        found = {"tag_logits": tags if mask is None else tags * mask.unsqueeze(-1).to(tags.dtype), "embedding": self.pool(hidden, mask)}
        if not self.classes:
            return found
        if not self.several:
            return found | {"logits": self.head(self.dropout(found["embedding"]))}
        votes = self.head(dropped)
        inside = _inside(hidden, mask).unsqueeze(-1)
        spread = torch.logsumexp(votes + (1.0 - inside) * FAR, dim=1) - torch.log(inside.sum(dim=1).clamp(min=1.0))
        return found | {"logits": spread, "token_logits": votes * inside}


def _inside(hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """[B,S], 1 for a token of the text and 0 for padding and the special tokens at both ends."""
    real = torch.ones_like(hidden[..., 0]) if mask is None else mask.to(hidden.dtype)
    following = torch.cat([real[:, 1:], torch.zeros_like(real[:, :1])], dim=1)
    return torch.cat([torch.zeros_like(real[:, :1]), following[:, 1:]], dim=1)


def load(
    folder: Path,
    classes: int,
    tags: int,
    *,
    several: bool = False,
    dropout: float = 0.0,
    pretrained: bool = True,
    seed: int = 0,
) -> EncoderTagger:
    """Like ``encoder_classifier.load``; ``classes`` is 0 where there are no intents."""

    def make(encoder: nn.Module, pooling: str) -> EncoderTagger:
        return EncoderTagger(encoder, classes, tags, several=several, pooling=pooling, dropout=dropout)

    return load_network(folder, make, dropout=dropout, pretrained=pretrained, seed=seed)
