"""A model's folder as transformers knows it: its configuration and weights read safely, and written whole."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from luthier.core.errors import Damaged
from luthier.store import files

WEIGHTS = "model.safetensors"
_AGAIN = "copy or download the model again"


def config_in(folder: Path, dropout: float, dropouts: Sequence[str]) -> Any:
    """The configuration, with ``dropout`` under each of the names that it has. Transformers is told to be quiet.

    Raises ``UnsafeFile`` for a folder with pickles and ``Damaged`` for a configuration that cannot be read.
    """
    from transformers import AutoConfig
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    files.refuse_pickles(folder)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise Damaged(f"{folder / 'config.json'}: cannot be read: {error}", _AGAIN) from None
    return with_dropout(config, dropout, dropouts)


def with_dropout(config: Any, dropout: float, dropouts: Sequence[str]) -> Any:
    """The configuration, changed: ``dropout`` under each of the names that it has."""
    for name in dropouts:
        if hasattr(config, name):
            setattr(config, name, dropout)
    return config


def weights_in(folder: Path, kind: Any, config: Any, *, spare: str = "", **more: Any) -> nn.Module:
    """The network of that ``kind`` (``AutoModel`` ...) in float32; of its weights only those that begin with ``spare`` may be missing.

    Raises ``Damaged`` for weights that cannot be read or do not fit.
    """
    from safetensors import SafetensorError

    try:
        network, facts = kind.from_pretrained(
            folder, config=config, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **more
        )
    except (SafetensorError, RuntimeError, OSError, ValueError) as error:
        raise Damaged(f"{folder}: the weights cannot be read: {error}", _AGAIN) from None
    lacking = sorted(name for name in facts["missing_keys"] if not (spare and name.startswith(spare)))
    if lacking:
        raise Damaged(f"{folder}: {len(lacking)} weights are missing, e.g. {lacking[0]}", _AGAIN)
    found: nn.Module = network
    return found


def write(folder: Path, weights: Mapping[str, torch.Tensor], config: Any) -> None:
    """``model.safetensors`` and ``config.json``."""
    write_weights(folder, weights)
    files.write_json(folder / "config.json", plain(config))


def write_weights(folder: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """``model.safetensors``."""
    from safetensors.torch import save_file

    state = {name: tensor.detach().contiguous().cpu() for name, tensor in weights.items()}
    with files.written_aside(folder / WEIGHTS) as aside:
        save_file(state, aside, metadata={"format": "pt"})


def plain(config: Any) -> dict[str, Any]:
    """A configuration as JSON, every field of it."""
    found: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return found


def untied(module: nn.Module) -> dict[str, torch.Tensor]:
    """Every weight once, under the first of its names."""
    seen: set[int] = set()
    found: dict[str, torch.Tensor] = {}
    for name, tensor in module.state_dict().items():
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            found[name] = tensor
    return found


def depth_of(config: Any) -> int:
    """Number of layers, by whichever name the configuration gives it; 0 when it says nothing."""
    return next((int(getattr(config, name)) for name in ("num_hidden_layers", "n_layers", "n_layer") if getattr(config, name, None)), 0)
