"""A network that says what a picture shows: a vision model's grid of features becomes prefix tokens of a decoder, which writes.

The mapper is the new part; vision model and decoder come pretrained (ClipCap: Mokady et al. 2021, arXiv 2111.09734, there with a
transformer as mapper and one vector a picture; here two linear layers on each place of the grid). A base is a folder with ``config.json``
of both parts, and their weights as ``vision/`` and ``decoder/`` (folders of transformers) or, once trained, in one file.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from luthier.core import images
from luthier.core.chat_template import TOKENIZER_FILES
from luthier.core.errors import Damaged, NotPossible
from luthier.networks.language_model import DROPOUTS, counted_of, judged
from luthier.networks.pretrained import WEIGHTS, config_in, plain, untied, weights_in, with_dropout, write_weights
from luthier.store import files

GRID = 7
"""Most places on a side: a finer grid is averaged down to it."""
VISION, DECODER = "vision", "decoder"


class Parts(nn.Module):
    """The two pre-trained parts."""

    def __init__(self, vision: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.vision, self.decoder = vision, decoder

    def get_output_embeddings(self) -> nn.Module | None:
        """The decoder's output layer (no method puts an adapter there)."""
        found: nn.Module | None = self.decoder.get_output_embeddings()
        return found

    def gradient_checkpointing_enable(self, **settings: Any) -> None:
        """Of the decoder, whose activations are many; a vision model of few layers keeps its own."""
        self.decoder.gradient_checkpointing_enable(**settings)


class Captioner(nn.Module):
    """``forward`` as ``LanguageModel``'s, with ``pixels`` uint8 [B,3,H,W]; the first ``places`` of ``input_ids`` [B,S] stand for the
    picture and may hold anything.

    Batch normalizations keep the statistics that they came with: a batch of few pictures says little, and they are no parameters.
    """

    depth = 0
    """No layer can be cached by its number."""

    def __init__(self, parts: Parts, how: images.Settings, word_dropout: float = 0.0) -> None:
        """``word_dropout``: share of the words behind which the decoder is blind while it learns (Bowman et al. 2016, arXiv 1511.06349), so
        that what it says next comes from the picture and not from the words that usually stand together.
        """
        super().__init__()
        self.word_dropout = word_dropout
        self.trunk = parts
        self.how = how
        grid = features(parts.vision, torch.zeros(1, 3, *how.size))
        self.places, width = int(grid.shape[1]), int(self.decoder.get_input_embeddings().weight.shape[1])
        self.mapper = nn.Sequential(
            nn.LayerNorm(grid.shape[2]), nn.Linear(grid.shape[2], 2 * width), nn.GELU(), nn.Linear(2 * width, width), nn.LayerNorm(width)
        )
        self.place_vectors = nn.Parameter(torch.randn(self.places, width) * 0.02)
        with torch.no_grad():  # as long as a word's vector is
            self.mapper[-1].weight.fill_(float(self.decoder.get_input_embeddings().weight.std()))
        self.register_buffer("mean", torch.tensor(how.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(how.std).view(1, 3, 1, 1), persistent=False)

    @property
    def decoder(self) -> Any:
        """The language model."""
        return self.trunk.decoder

    @property
    def config(self) -> Any:
        """The decoder's: how much it can read."""
        return self.decoder.config

    def train(self, mode: bool = True) -> Captioner:
        """Batch normalizations stay as they are."""
        super().train(mode)
        for module in self.trunk.vision.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def seen(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pictures [B,3,H,W] uint8 as the vision model's grid [B,places,channels]."""
        return features(self.trunk.vision, self.normalised(pixels.to(self.mean.dtype) * self.how.scale))

    def normalised(self, values: torch.Tensor) -> torch.Tensor:
        """Rescaled pictures as the vision model wants them (``images.normalised``)."""
        return (values - self.mean) / self.std

    def prefix(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pictures as vectors [B,places,hidden] where words would stand."""
        found: torch.Tensor = self.mapper(self.seen(pixels)) + self.place_vectors
        return found

    def embedded(self, input_ids: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        """[B,S,hidden]: the picture's vectors, then those of the words behind it."""
        words = self.decoder.get_input_embeddings()(input_ids[:, self.places :])
        if self.training and self.word_dropout:
            words = words * (torch.rand(words.shape[:2], device=words.device) >= self.word_dropout)[..., None]
        prefix = self.prefix(pixels)
        return torch.cat([prefix.to(words.dtype), words], dim=1)

    def forward(
        self,
        input_ids: torch.Tensor,
        pixels: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        loss_mask: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """``loss_sum``, ``predicted`` and, unless it is being trained, ``correct``, [B] each."""
        counted = counted_of(input_ids, attention_mask, loss_mask)[:, self.places - 1 :]
        decoder = self.decoder
        hidden = decoder.get_submodule(decoder.base_model_prefix)(inputs_embeds=self.embedded(input_ids, pixels), use_cache=False)
        logits = decoder.get_output_embeddings()(hidden.last_hidden_state[:, self.places - 1 : -1])
        return judged(logits, input_ids[:, self.places :], counted, training=self.training)

    def save(self, folder: Path) -> None:
        """``model.safetensors`` with every part, ``config.json`` and ``preprocessor_config.json``."""
        write_weights(folder, untied(self))
        files.write_json(folder / "config.json", about(self))
        files.write_json(folder / images.CONFIG, images.as_config(self.how))


class Sees(nn.Module):
    """The first graph of an exported captioner: ``pixels`` to ``prefix``."""

    def __init__(self, network: Captioner) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """[B,3,H,W] uint8 to [B,places,hidden]."""
        return self.network.prefix(pixels)


class Writes(nn.Module):
    """The second: what was seen, new tokens and the cache to the chances of the next token and the longer cache."""

    def __init__(self, network: Captioner) -> None:
        super().__init__()
        self.decoder = network.decoder
        self.places = network.places

    def forward(self, prefix: torch.Tensor, input_ids: torch.Tensor, past: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``prefix`` [B,P,hidden], ``input_ids`` [B,S], ``past`` [layers,2,B,heads,T,width] (keys, values): ``logits`` [B,words] behind the
        last of them, and the cache of T+P+S. P and S may be 0, not both.
        """
        from transformers import DynamicCache

        vectors = torch.cat([prefix, self.decoder.get_input_embeddings()(input_ids)], dim=1)
        cache = DynamicCache()
        for layer in range(past.shape[0]):
            cache.update(past[layer, 0], past[layer, 1], layer)
        positions = torch.arange(vectors.shape[1], device=vectors.device)[None] + past.shape[4]
        inner = self.decoder.get_submodule(self.decoder.base_model_prefix)
        found = inner(inputs_embeds=vectors, past_key_values=cache, use_cache=True, position_ids=positions)
        logits = self.decoder.get_output_embeddings()(found.last_hidden_state[:, -1])
        return logits, torch.stack([torch.stack([layer.keys, layer.values]) for layer in found.past_key_values.layers])

    def sample(self) -> dict[str, torch.Tensor]:
        """Inputs of two rows, from which the graph is traced."""
        config, width = self.decoder.config, int(self.decoder.get_input_embeddings().weight.shape[1])
        heads = int(config.num_attention_heads)
        shape = (getattr(config, "num_key_value_heads", None) or heads, 5, getattr(config, "head_dim", None) or width // heads)
        return {
            "prefix": torch.zeros(2, self.places, width),
            "input_ids": torch.zeros(2, 3, dtype=torch.long),
            "past": torch.zeros(int(config.num_hidden_layers), 2, 2, *shape),
        }


def context_of(network: Captioner) -> int:
    """Most positions, the picture's among them."""
    return int(getattr(network.config, "max_position_embeddings", 0) or 2048)


def features(vision: nn.Module, values: torch.Tensor) -> torch.Tensor:
    """[B,places,channels] of normalised pictures: a convolutional net's last grid, or a transformer's patches without its first token;
    at most 7 x 7 places.
    """
    found = vision(pixel_values=values).last_hidden_state
    if found.dim() == 3:
        side = int(found.shape[1] ** 0.5)
        found = found[:, found.shape[1] - side * side :].transpose(1, 2).unflatten(2, (side, side))
    if found.shape[-1] > GRID or found.shape[-2] > GRID:
        found = functional.adaptive_avg_pool2d(found, GRID)
    return found.flatten(2).transpose(1, 2)


def about(network: Captioner) -> dict[str, Any]:
    """``config.json`` of a captioner: both parts' own, and on top what encoding, planning and the catalog look for."""
    parts = {VISION: plain(network.trunk.vision.config), DECODER: plain(network.config)}
    text = parts[DECODER]
    words = {"hidden_size": ("hidden_size", "n_embd"), "layers": ("num_hidden_layers", "n_layer")}
    sizes = {name: next((text[one] for one in names if text.get(one)), 0) for name, names in words.items()}
    context = text.get("max_position_embeddings") or text.get("n_positions") or 512
    return {
        "model_type": images.CAPTIONER,
        "image_size": max(network.how.size),
        "places": network.places,
        **sizes,
        "vocab_size": text.get("vocab_size", 0),
        "max_position_embeddings": context,
        "parameters": sum(one.numel() for one in network.parameters()),
        **parts,
    }


def load(folder: Path, *, dropout: float = 0.0, pretrained: bool = True, seed: int = 0) -> Captioner:
    """The captioner in a folder: a base of two parts (a new mapper between them) or a trained one. ``dropout``: of words.

    ``pretrained=False``: the same shape with random weights that ``seed`` decides. Raises ``UnsafeFile`` for pickles and ``Damaged``.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    files.refuse_pickles(folder)
    own = files.read_json(folder / "config.json")
    if VISION not in own or DECODER not in own:
        raise Damaged(f"{folder / 'config.json'}: names no vision model and decoder", "make a captioning base: docs/captions.md")
    torch.manual_seed(seed)
    parts = pretrained and not (folder / WEIGHTS).exists()
    vision = _part(folder, own, VISION, weights=parts)
    decoder = _part(folder, own, DECODER, weights=parts)
    torch.manual_seed(seed)
    network = Captioner(Parts(vision, decoder), images.settings_in(folder), dropout)
    if not pretrained:
        settle(network, seed)
    elif not parts:
        try:
            missing = network.load_state_dict(load_file(folder / WEIGHTS), strict=False)
        except (SafetensorError, RuntimeError) as error:
            raise Damaged(f"{folder / WEIGHTS}: the weights do not fit their configuration: {error}", "train the model again") from None
        _check(folder, network, missing)
    return network


def _check(folder: Path, network: Captioner, found: Any) -> None:
    """Only the second name of tied word vectors may be missing."""
    tied = {name for name in network.state_dict() if name.endswith("lm_head.weight")} if network.config.tie_word_embeddings else set()
    lacking = [*(set(found.missing_keys) - tied), *found.unexpected_keys]
    if lacking:
        raise Damaged(f"{folder / WEIGHTS}: the weights do not fit their configuration, e.g. {sorted(lacking)[0]}", "train the model again")


def _part(folder: Path, own: dict[str, Any], name: str, *, weights: bool) -> nn.Module:
    """One of the two, without dropout of its own."""
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    kind = AutoModel if name == VISION else AutoModelForCausalLM
    if weights:
        config = config_in(folder / name, 0.0, DROPOUTS)
        return weights_in(folder / name, kind, config, spare="pooler.")
    settings = dict(own[name])
    try:
        config = AutoConfig.for_model(settings.pop("model_type"), **settings)
        made: nn.Module = kind.from_config(with_dropout(config, 0.0, DROPOUTS), dtype=torch.float32)
    except ImportError as error:
        lacking = str(error).strip().splitlines()[0]
        raise NotPossible(f"model: its {name} part needs a library that is missing: {lacking}", "install it, or choose a ResNet") from None
    return made


def settle(network: Captioner, seed: int) -> None:
    """Gives the batch normalizations of a net with random weights the statistics of pictures of coloured patches, so that no layer's
    output grows or dies out; real pictures are never needed for it.
    """
    vision = network.trunk.vision
    norms = [one for one in vision.modules() if isinstance(one, nn.BatchNorm2d)]
    if not norms:
        return
    generator = torch.Generator().manual_seed(seed)
    patches = functional.interpolate(torch.rand(32, 3, 6, 6, generator=generator), size=network.how.size, mode="nearest")
    before = [one.momentum for one in norms]
    vision.train()
    for one in norms:
        one.reset_running_stats()
        one.momentum = None
    with torch.no_grad():
        vision(pixel_values=network.normalised(patches))
    for one, momentum in zip(norms, before, strict=True):
        one.momentum = momentum
    vision.eval()


def compose(vision: Path, decoder: Path, folder: Path) -> Path:
    """A captioning base in a new ``folder`` from the folders of a vision model and of a decoder; raises ``FileExistsError``.

    Weights are copied as they are: what they were trained to is not touched, and the mapper between them is made when a training begins.
    """
    with files.folder_aside(folder) as aside:
        for source, name in ((vision, VISION), (decoder, DECODER)):
            files.refuse_pickles(source)
            (aside / name).mkdir()
            for path in [source / "config.json", *sorted(source.glob("*.safetensors*"))]:
                shutil.copyfile(path, aside / name / path.name)
        for path in (vision / images.CONFIG, *(decoder / name for name in TOKENIZER_FILES)):
            if path.is_file():
                shutil.copyfile(path, aside / path.name)
        network = Captioner(
            Parts(_part(aside, {}, VISION, weights=True), _part(aside, {}, DECODER, weights=True)), images.settings_in(aside)
        )
        files.write_json(aside / "config.json", about(network))
    return folder
