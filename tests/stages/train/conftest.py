"""A tiny BERT and a tiny data set, made here: two words decide the label."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from luthier.core import registry
from luthier.core.types import Example, content_id
from luthier.store import datasets, files

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{number}" for number in range(60))]
LABELS = {"refund": "w1", "delivery": "w2", "account": "w3"}


def make_base(folder: Path, layers: int = 3) -> Path:
    """A random BERT of 16 dimensions with a word-level tokenizer."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def make_examples(count: int, seed: int, *, several: bool = False) -> list[Example]:
    """Texts of 3 to 12 words; the label's own word is among them."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        chosen = [name for name in LABELS if rng.random() < 0.5] if several else [list(LABELS)[int(rng.integers(3))]]
        words = [f"w{rng.integers(4, 60)}" for _ in range(int(rng.integers(2, 11)))] + [LABELS[name] for name in chosen]
        inputs = {"text": " ".join(rng.permutation(words))}
        found.append(Example(content_id([inputs, number]), inputs, sorted(chosen) if several else chosen[0]))
    return found


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def small(base: Path) -> Any:
    """task, schema, base, train and validation items, validation examples."""
    return encoded(base)


def encoded(base: Path, *, several: bool = False, rows: int = 240) -> Any:
    task = registry.get("tasks", "text-classification")
    train, validation = make_examples(rows, 1, several=several), make_examples(60, 2, several=several)
    schema = {**task.schema([example.target for example in train]), "max_tokens": 32}
    processor = task.processor(base, schema)
    return SimpleNamespace(
        task=task,
        base=base,
        schema=schema,
        train=task.encode(train, processor, schema),
        validation=task.encode(validation, processor, schema),
        judged=validation,
    )


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    train = make_examples(400, 1)
    datasets.write_split(folder, "train", train)
    datasets.write_split(folder, "validation", make_examples(60, 2))
    files.write_json(folder / "schema.json", registry.get("tasks", "text-classification").schema([e.target for e in train]))
    return folder
