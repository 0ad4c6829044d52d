"""What the training loop asks of a task, for texts whose masked tokens are guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.plan import TrainPlan
from luthier.core.types import Arrays, Item, Schema
from luthier.stages.train.adapt.added_tokens import Vocabulary


class MaskedText:
    """See the module; the part of ``Task`` that a training without validation needs. Items hold ``input_ids`` only."""

    name = "masked text"
    primary_metric = "loss"
    metrics: tuple[str, ...] = ()

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def items(self, texts: Sequence[str], max_tokens: int) -> list[Item]:
        """``input_ids`` [tokens] int64, cut at ``max_tokens``; texts without a token are left out."""
        tokenizer = self.vocabulary.tokenizer
        tokenizer.enable_truncation(max_tokens)
        found = [np.array(one.ids, dtype=np.int64) for one in tokenizer.encode_batch_fast(list(texts))]
        tokenizer.no_truncation()
        special = self.vocabulary.special
        return [{"input_ids": ids} for ids in found if len(ids) and not np.isin(ids, special).all()]

    def length(self, item: Item) -> int:
        """Tokens."""
        return len(item["input_ids"])

    def collate(self, items: Sequence[Item]) -> Arrays:
        """``input_ids`` and ``attention_mask`` [B,S] int64, padded with 0."""
        longest = max(len(item["input_ids"]) for item in items)
        batch: Arrays = {name: np.zeros((len(items), longest), dtype=np.int64) for name in ("input_ids", "attention_mask")}
        for row, item in enumerate(items):
            batch["input_ids"][row, : len(item["input_ids"])] = item["input_ids"]
            batch["attention_mask"][row, : len(item["input_ids"])] = 1
        return batch

    def load(self, folder: Path, schema: Schema, *, dropout: float = 0.0, pretrained: bool = True, seed: int = 0) -> Any:
        """A ``MaskedLanguageModel``."""
        from luthier.networks import masked_language_model

        own = self.vocabulary
        return masked_language_model.load(folder, own.pieces, own.mask_token, own.special, dropout=dropout, seed=seed)

    def loss(self, outputs: Mapping[str, Any], batch: Mapping[str, Any], schema: Schema, plan: TrainPlan, weights: Any) -> Any:
        """Mean cross-entropy of the masked tokens."""
        from torch.nn import functional

        return functional.cross_entropy(outputs["logits"].float(), outputs["masked"])
