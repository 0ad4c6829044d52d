"""The models that one can start from: lists them, finds one by any of its names, and says whether it can be used here and where it lies.

One file in ``models/`` holds one family; a new model is one new entry or one new file, and nothing else.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from luthier.catalog.card import Architecture, ModelCard, Shape, Source, count_parameters, memory_bytes
from luthier.catalog.places import availability, cached_file, config_of, locate
from luthier.core.errors import Damaged, InputError, UnknownName

__all__ = ["ModelCard", "Shape", "Source", "availability", "count_parameters", "find", "list_cards", "locate", "memory_bytes"]

FOLDER = Path(__file__).parent / "models"
_STORED_BYTES: dict[Architecture, int] = {"encoder": 4, "decoder": 2, "vision": 4, "hosted": 0}
"""Bytes of a stored weight, where a card does not give the size of its file."""


@cache
def _cards() -> tuple[ModelCard, ...]:
    found = [card for path in sorted(FOLDER.glob("*.yaml")) for card in _family(path)]
    return tuple(sorted(found, key=lambda card: (card.architecture == "hosted", card.architecture, card.parameters, card.id)))


def _family(path: Path) -> list[ModelCard]:
    import yaml

    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    family = data.get("family", {})
    try:
        return [_card(family | entry | {"shape": family.get("shape", {}) | entry.get("shape", {})}) for entry in data["models"]]
    except (ValidationError, KeyError) as error:
        raise Damaged(f"{path}: {error}", "see docs/models.md for the fields of a card") from None


def _card(entry: dict[str, Any]) -> ModelCard:
    """A card with what follows from the rest of it filled in."""
    if "source" not in entry:
        entry["source"] = {"kind": "hub", "name": entry["hub"]}
    shape = Shape(**entry["shape"])
    entry["parameters"] = entry.get("parameters") or count_parameters(shape)
    entry["size_bytes"] = entry.get("size_bytes") or entry["parameters"] * _STORED_BYTES[entry["architecture"]]
    entry["context_tokens"] = entry.get("context_tokens") or shape.context
    return ModelCard(**entry)


def list_cards() -> list[ModelCard]:
    """Every card: encoders, decoders and vision models from small to large, then hosted ones."""
    return list(_cards())


def find(name: str) -> ModelCard:
    """The card of that id, alias or hub id (letter case is ignored).

    A folder (``./my-model``, ``/models/bert``) and any other hub id (``organization/name``) get a card from their own ``config.json``.
    ``resnet-50+gpt2`` is a captioner of a vision model and a decoder. Raises ``UnknownName`` with the nearest names, ``InputError`` for a
    folder that holds no model.
    """
    known = {alias.lower(): card for card in _cards() for alias in (card.id, card.hub, card.source.name, *card.aliases) if alias}
    if name.lower() in known:
        return known[name.lower()]
    if "+" in name and not _expanded(name).is_dir():
        return _pair(name)
    folder = _expanded(name)
    if folder.is_dir():
        return _from_folder(folder)
    if name.startswith((".", "/", "~")):
        raise InputError(f"model: there is no folder {name!r}", "give a folder with config.json, model.safetensors and tokenizer.json")
    if name.count("/") == 1 and all(name.split("/")):
        return _from_hub(name)
    raise UnknownName.among("model", name, (alias for card in _cards() for alias in (card.id, *card.aliases)))


def _pair(name: str) -> ModelCard:
    """Two models that become one captioner: the vision model first."""
    vision, decoder = (find(part.strip()) for part in name.split("+", 1))
    if (vision.architecture, decoder.architecture) != ("vision", "decoder"):
        said = f"{vision.id!r} is a {vision.architecture} model and {decoder.id!r} a {decoder.architecture} model"
        raise InputError(f"model: {said}; a captioner is a vision model + a decoder", "resnet-50+gpt2, for example")
    return ModelCard(
        id=f"{vision.id}+{decoder.id}",
        architecture="vision",
        tasks=["image-captioning"],
        source=Source(kind="pair", name=f"{vision.id}+{decoder.id}"),
        shape=decoder.shape.model_copy(update={"image": vision.shape.image or 224}),
        parameters=vision.parameters + decoder.parameters,
        size_bytes=vision.size_bytes + decoder.size_bytes,
        licence="; ".join(dict.fromkeys((vision.licence, decoder.licence))),
        languages=decoder.languages,
        context_tokens=decoder.context_tokens,
        parts=(vision, decoder),
        notes="a captioner of two models",
    )


def _expanded(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # ~somebody, who has no home here
        return Path(name)


def _from_folder(folder: Path) -> ModelCard:
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(f"model: {folder} has no config.json", "give a folder with config.json, model.safetensors and tokenizer.json")
    return _ad_hoc(str(folder), Source(kind="path", name=str(folder.resolve())), _config(path), "a folder on this machine")


def _from_hub(name: str) -> ModelCard:
    path = cached_file(name, "config.json") or config_of(name)
    config = _config(path) if path else {}
    return _ad_hoc(name, Source(kind="hub", name=name), config, "" if path else _UNKNOWN)


_UNKNOWN = "its config.json is not on this machine, so its shape is not known yet"


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise Damaged(f"{path}: not whole JSON: {error}", "fetch or copy the model again") from None
    return dict(config) if isinstance(config, dict) else {}


_CONFIG_NAMES: dict[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "n_layers", "n_layer"),
    "hidden": ("hidden_size", "dim", "n_embd"),
    "intermediate": ("intermediate_size", "hidden_dim", "n_inner"),
    "heads": ("num_attention_heads", "n_heads", "n_head"),
    "key_heads": ("num_key_value_heads",),
    "head_size": ("head_dim",),
    "vocabulary": ("vocab_size",),
    "context": ("max_position_embeddings", "n_positions", "n_ctx"),
    "token_types": ("type_vocab_size",),
    "image": ("image_size",),
    "patch": ("patch_size",),
}
"""Field of a shape -> what Hugging Face configurations call it."""


def _ad_hoc(name: str, source: Source, config: dict[str, Any], notes: str) -> ModelCard:
    sizes: dict[str, Any] = {
        field: next((config[key] for key in keys if isinstance(config.get(key), int)), 0) for field, keys in _CONFIG_NAMES.items()
    }
    sizes["intermediate"] = sizes["intermediate"] or 4 * sizes["hidden"]
    architecture = _architecture(config)
    gated = "silu" in str(config.get("hidden_act", "")) or config.get("model_type") in ("gemma", "gemma2", "gemma3_text", "modernbert")
    learned = config.get("model_type") in ("bert", "roberta", "xlm-roberta", "distilbert", "gpt2", "electra", "mpnet")
    tied = architecture != "decoder" or bool(config.get("tie_word_embeddings", True))
    shape = Shape(**sizes, gated=gated, tied=tied, position_rows=sizes["context"] if learned else 0)
    tasks = ["text-classification"] if architecture != "vision" else ["image-classification"]
    return _card(
        {
            "id": name,
            "architecture": architecture,
            "tasks": tasks,
            "source": source.model_dump(),
            "shape": shape.model_dump(),
            "notes": notes,
            "hub": name if source.kind == "hub" else "",
            "licence": "see its own page",
        }
    )


def _architecture(config: dict[str, Any]) -> Architecture:
    classes = " ".join(config.get("architectures") or [])
    if "image_size" in config or "ImageClassification" in classes or config.get("model_type") in ("resnet", "vit", "timm_wrapper"):
        return "vision"
    if "CausalLM" in classes or "LMHead" in classes:
        return "decoder"
    return "encoder"
