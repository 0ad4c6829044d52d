"""The shape of a transformer as its catalog card (or Hugging Face configuration) tells it, and what follows from it: FLOP and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from luthier.core.plan import TrainPlan

BYTES = 4
"""Bytes of a float32."""


class Shape(NamedTuple):
    """Sizes of a transformer: ``hidden`` width, ``inner`` width of the feed-forward part, ``layers``, ``words`` in the vocabulary.

    ``key_share``: width of keys over that of queries (grouped-query attention); ``gated``: three feed-forward matrices instead of two;
    ``decoder``: every token's state is taken to a chance for every word.
    """

    hidden: int
    inner: int
    layers: int
    words: int
    parameters: int
    key_share: float = 1.0
    gated: bool = False
    decoder: bool = False

    @property
    def layer_parameters(self) -> int:
        """Matrix parameters of one layer: H x H projections (of keys and values narrower where heads share them) and H x inner ones."""
        return round((2 + 2 * self.key_share) * self.hidden**2) + (3 if self.gated else 2) * self.hidden * self.inner

    @property
    def embedding_parameters(self) -> int:
        """Word vectors."""
        return self.words * self.hidden

    def forward_flop(self, tokens: int) -> float:
        """FLOP of the whole network, forward, for one token of a text of ``tokens``: the layers, and a decoder's output layer."""
        return self.layers * self.layer_flop(tokens) + (2.0 * self.words * self.hidden if self.decoder else 0.0)

    def layer_flop(self, tokens: int) -> float:
        """FLOP of one layer, forward, for one token of a sentence of ``tokens``: 2 per matrix parameter, and attention."""
        return 2.0 * self.layer_parameters + 4.0 * tokens * self.hidden


_NAMES: dict[str, tuple[str, ...]] = {
    "hidden": ("hidden_size", "hidden", "dim", "n_embd", "d_model"),
    "inner": ("intermediate_size", "intermediate", "inner", "hidden_dim", "n_inner", "ffn_dim"),
    "layers": ("num_hidden_layers", "layers", "n_layers", "n_layer", "depth"),
    "words": ("vocab_size", "vocabulary", "words"),
}

_HEADS, _KEY_HEADS = ("num_attention_heads", "heads", "n_head"), ("num_key_value_heads", "key_heads")


def shape(card: Mapping[str, Any]) -> Shape:
    """The sizes in a card (its own fields or those under ``shape``/``config``); what is missing is guessed from ``parameters``, or is
    BERT-base's."""
    facts: dict[str, Any] = {**dict(card.get("config") or {}), **dict(card.get("shape") or {}), **card}

    def find(what: str, otherwise: int) -> int:
        return next((int(facts[name]) for name in _NAMES[what] if isinstance(facts.get(name), int | float) and facts[name]), otherwise)

    hidden, layers, words = find("hidden", 768), find("layers", 12), find("words", 30522)
    inner = find("inner", 4 * hidden)
    form = Shape(hidden, inner, layers, words, 0, _key_share(facts), _gated(facts), _decoder(facts))
    given = facts.get("parameters")
    return form._replace(
        parameters=int(given) if isinstance(given, int | float) and given else layers * form.layer_parameters + form.embedding_parameters
    )


def _key_share(facts: Mapping[str, Any]) -> float:
    heads, keys = (next((facts[name] for name in names if facts.get(name)), 0) for names in (_HEADS, _KEY_HEADS))
    return float(keys) / float(heads) if heads and keys else 1.0


def _gated(facts: Mapping[str, Any]) -> bool:
    return bool(facts.get("gated")) or facts.get("hidden_act") == "silu" or str(facts.get("model_type", "")).startswith("gemma")


def _decoder(facts: Mapping[str, Any]) -> bool:
    return facts.get("architecture") == "decoder" or any("CausalLM" in one or "LMHead" in one for one in facts.get("architectures") or ())


def activation_bytes(form: Shape, layers: int, tokens: float, *, recomputed: bool = False) -> float:
    """Bytes kept for the backward pass: about 14 hidden-wide and 3 inner-wide arrays a layer (counted on BERT with dropout); of a decoder
    the logits, their softmax and its gradient. ``recomputed`` (gradient checkpointing): each layer's input, and the whole of one layer.
    """
    whole = 14 * form.hidden + 3 * form.inner
    kept = layers * form.hidden + (whole if layers else 0) if recomputed else layers * whole
    return tokens * BYTES * (kept + (3 * form.words if form.decoder else 0))


def training_bytes(form: Shape, trained: int, layers: int, tokens_per_batch: int, plan: TrainPlan) -> float:
    """Weights, gradients, AdamW's two moments, activations of one piece of a batch, and 300 MB for the libraries themselves."""
    activations = activation_bytes(form, layers, tokens_per_batch / plan.accumulation, recomputed=plan.gradient_checkpointing)
    return form.parameters * BYTES + 3.0 * trained * BYTES + activations + 300e6


def freeze_trunk(model: Any) -> None:
    """Nothing of the pre-trained part learns; what was newly made (the output layer) does."""
    for parameter in model.trunk.parameters():
        parameter.requires_grad_(False)
