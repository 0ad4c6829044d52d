"""A transformer encoder with pooling and one linear output layer, which can be run in two parts so that the lower one is cached.

The parts: ``lower(ids, mask, cut)`` runs the embeddings and the first ``cut`` layers; ``upper(hidden, mask, cut)`` the rest, pooling and
the
output layer. With ``cut == depth`` what travels between them is the pooled embedding [rows, hidden].
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from luthier.core.errors import Damaged, NotPossible
from luthier.networks import byte_dropout
from luthier.networks.pretrained import WEIGHTS, config_in, depth_of, weights_in, write
from luthier.store import files

CONFIG = "network.json"
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout", "mlp_dropout")
"""What encoders' configurations call it."""
SPLITTABLE = {
    "bert": "encoder.layer",
    "roberta": "encoder.layer",
    "xlm-roberta": "encoder.layer",
    "camembert": "encoder.layer",
    "distilbert": "transformer.layer",
}
"""Model types whose layers are run one after the other with nothing between, before or after them, and where the layers are."""


class EncoderClassifier(nn.Module):
    """``forward(input_ids [B,S], attention_mask [B,S])`` gives ``logits`` [B,classes] and ``embedding`` [B,hidden].

    The embedding is the pooled hidden state, before the output layer.
    """

    kind = "encoder-classifier"
    sizes: dict[str, str] = {"head": "classes"}  # noqa: RUF012 - a network without one of its layers has its own
    """Each output layer, and what its size is called in ``network.json``."""

    def __init__(self, encoder: nn.Module, classes: int, *, pooling: str = "mean", dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling
        self.config: Any = encoder.config
        self.dropout = nn.Dropout(dropout)
        self.head = output_layer(int(self.config.hidden_size), classes)

    @property
    def layers(self) -> nn.ModuleList | None:
        """The stack of layers when the architecture is known to be splittable (BERT's and DistilBERT's families), else ``None``."""
        path = SPLITTABLE.get(self.config.model_type)
        found = self.encoder.get_submodule(path) if path else None
        return found if isinstance(found, nn.ModuleList) else None

    @property
    def trunk(self) -> nn.Module:
        """The pre-trained part; everything else is new and learns faster."""
        return self.encoder

    @property
    def depth(self) -> int:
        """Number of layers."""
        return depth_of(self.config)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Logits and embedding. ``attention_mask=None`` says that nothing is padded (and is faster)."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.classify(self.pool(hidden, attention_mask))

    def pool(self, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """[B,S,H] to [B,H]: the mean over real tokens, or the first token."""
        if self.pooling == "cls":
            return hidden[:, 0]
        if mask is None:
            return hidden.mean(dim=1)
        weight = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1e-9)

    def classify(self, embedding: torch.Tensor) -> dict[str, torch.Tensor]:
        """[B,H] to logits [B,classes]."""
        return {"logits": self.head(self.dropout(embedding)), "embedding": embedding}

    def lower(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, cut: int) -> torch.Tensor:
        """Hidden states [B,S,H] after ``cut`` layers, or the embedding [B,H] when ``cut == depth``."""
        if cut == self.depth:
            return self.pool(self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state, attention_mask)
        layers = self._splittable(cut)
        hidden = self.encoder.get_submodule("embeddings")(input_ids=input_ids)
        return self._through(layers[:cut], hidden, attention_mask)

    def upper(self, hidden: torch.Tensor, attention_mask: torch.Tensor | None, cut: int) -> dict[str, torch.Tensor]:
        """Logits and embedding from what ``lower`` gave."""
        if cut == self.depth:
            return self.classify(hidden)
        hidden = self._through(self._splittable(cut)[cut:], hidden, attention_mask)
        return self.classify(self.pool(hidden, attention_mask))

    def _splittable(self, cut: int) -> nn.ModuleList:
        layers = self.layers
        if layers is None:
            name = type(self.encoder).__name__
            raise NotPossible(f"{name} cannot be cut after layer {cut}", "use method head or full: they run the encoder whole")
        return layers

    @staticmethod
    def _through(layers: Any, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        wide = None if mask is None or bool(mask.all()) else mask[:, None, None, :].to(torch.bool)
        for layer in layers:
            out = layer(hidden, attention_mask=wide)
            hidden = out[0] if isinstance(out, tuple) else out
        return hidden

    def save(self, folder: Path) -> None:
        """Writes ``model.safetensors``, ``config.json`` (the encoder's) and ``network.json`` into ``folder``."""
        write(folder, self.state_dict(), self.config)
        files.write_json(
            folder / CONFIG,
            {
                "network": self.kind,
                **{size: self.get_submodule(layer).out_features for layer, size in self.sizes.items()},
                "pooling": self.pooling,
            },
        )


Network = TypeVar("Network", bound=EncoderClassifier)


def load(folder: Path, classes: int, *, dropout: float = 0.0, pretrained: bool = True, seed: int = 0) -> EncoderClassifier:
    """The network from a base model's folder (new output layer) or from one that ``save`` wrote (its own, where it has as many classes).

    ``pretrained=False``: the same shape and only new weights. ``seed`` decides every new weight. Raises ``UnsafeFile`` for pickled
    weights and ``Damaged`` for weights that do not fit.
    """

    def make(encoder: nn.Module, pooling: str) -> EncoderClassifier:
        return EncoderClassifier(encoder, classes, pooling=pooling, dropout=dropout)

    return load_network(folder, make, dropout=dropout, pretrained=pretrained, seed=seed)


def load_network(
    folder: Path, make: Callable[[nn.Module, str], Network], *, dropout: float = 0.0, pretrained: bool = True, seed: int = 0
) -> Network:
    """What ``load`` does for any network of an encoder and output layers: ``make(encoder, pooling)`` builds it with new ones."""
    from transformers import AutoModel

    config = config_in(folder, dropout, DROPOUTS)
    torch.manual_seed(seed)
    own = files.read_json(folder / CONFIG) if (folder / CONFIG).exists() else None
    if pretrained and own is None:
        extra = {"add_pooling_layer": False} if config.model_type in ("bert", "roberta", "xlm-roberta", "camembert") else {}
        encoder = weights_in(folder, AutoModel, config, spare="pooler.", **extra)
    else:
        encoder = AutoModel.from_config(config)
    torch.manual_seed(seed)
    network = make(_without_pooler(encoder), _pooling(folder, own))
    if pretrained and own is not None:
        _fill(network, folder, own)
    byte_dropout.put_in(network)
    return network


def _fill(network: EncoderClassifier, folder: Path, own: dict[str, Any]) -> None:
    """The weights that ``save`` wrote; an output layer of another size stays the new one that it is."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    new, weights = {layer: network.get_submodule(layer) for layer in network.sizes}, folder / WEIGHTS
    try:
        sizes = {layer: int(own[size]) for layer, size in network.sizes.items()}
        for layer, count in sizes.items():
            if count != new[layer].out_features:
                setattr(network, layer, output_layer(int(network.config.hidden_size), count))
        network.load_state_dict(load_file(weights))
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{folder / CONFIG}: lacks a number of classes: {error!r}", "train the model again") from None
    except (SafetensorError, RuntimeError, FileNotFoundError) as error:
        raise Damaged(f"{weights}: the weights do not fit their configuration: {error}", "train the model again") from None
    for layer, count in sizes.items():
        if count != new[layer].out_features:
            setattr(network, layer, new[layer])


def output_layer(width: int, classes: int) -> nn.Linear:
    """A new linear layer: small random weights, no bias yet."""
    layer = nn.Linear(width, classes)
    nn.init.normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer


def _without_pooler(encoder: nn.Module) -> nn.Module:
    """BERT's own pooler is not used: without it no weight is trained, stored or exported in vain."""
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None
    return encoder


def _pooling(folder: Path, own: dict[str, Any] | None) -> str:
    """What the model was trained with (our ``network.json``, or sentence-transformers' ``1_Pooling/config.json``), else the mean."""
    if own is not None:
        if "pooling" not in own:
            raise Damaged(f"{folder / CONFIG}: has no 'pooling'", "train the model again")
        return str(own["pooling"])
    path = folder / "1_Pooling" / "config.json"
    if path.exists() and files.read_json(path).get("pooling_mode_cls_token"):
        return "cls"
    return "mean"
