"""Tiny decoders of the shapes that people tune, with random weights and the tokenizer of ``luthier.testing.made``."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from typing import Any

from luthier.testing import made

_HIDDEN = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 64}
_SHAPES: dict[str, dict[str, Any]] = {
    "llama": {**_HIDDEN, "num_key_value_heads": 1, "tie_word_embeddings": True},
    "qwen2": {**_HIDDEN, "num_key_value_heads": 1, "tie_word_embeddings": False},
    "gemma": {**_HIDDEN, "num_key_value_heads": 1, "head_dim": 16},
    "phi": {**_HIDDEN},
    "gpt_neox": {**_HIDDEN},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_inner": 64, "n_positions": 64},
}
SHAPES = tuple(_SHAPES)


@cache
def decoder(kind: str) -> Path:
    """The folder of such a decoder, made once a process."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    place, source = made.folder(), made.base(architecture="decoder")
    words = AutoConfig.from_pretrained(source).vocab_size
    config = AutoConfig.for_model(kind, **_SHAPES[kind], vocab_size=words, bos_token_id=2, eos_token_id=4, pad_token_id=0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(place)
    shutil.copyfile(source / "tokenizer.json", place / "tokenizer.json")
    return place
