"""What the tasks share whose input is one text: the text itself, the model folder's tokenizer, padding, and requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.errors import Damaged, InputError, RowError
from luthier.core.types import Arrays, Example, Item, Schema, content_id

MAX_TOKENS = 512
UNKNOWN = -100
"""The label of a token that is not judged."""


class OneText:
    """A task whose examples have ``inputs["text"]`` and whose items have ``input_ids`` [tokens]."""

    def text(self, example: Example) -> str:
        """The text."""
        return str(example.inputs["text"])

    def with_text(self, example: Example, text: str) -> Example:
        """The example with another text, and the id of that text."""
        inputs = {**example.inputs, "text": text}
        return replace(example, id=content_id(inputs), inputs=inputs)

    def processor(self, folder: Path, schema: Schema) -> Any:
        """A ``tokenizers.Tokenizer`` that truncates at ``schema['max_tokens']``."""
        tokenizer = tokenizer_in(folder)
        tokenizer.enable_truncation(int(schema.get("max_tokens", MAX_TOKENS)))
        return tokenizer

    def length(self, item: Item) -> int:
        """Tokens."""
        return len(item["input_ids"])


def tokenizer_in(folder: Path) -> Any:
    """The folder's ``tokenizers.Tokenizer``, which neither pads nor truncates; raises ``Damaged`` when there is none."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.exists():
        raise Damaged(f"{path}: the file is missing", "the model folder needs its tokenizer.json")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def padded(items: Sequence[Item]) -> Arrays:
    """``input_ids`` and ``attention_mask`` [B,S] int64, padded with 0 at the end."""
    longest = max(len(item["input_ids"]) for item in items)
    batch: Arrays = {name: np.zeros((len(items), longest), dtype=np.int64) for name in ("input_ids", "attention_mask")}
    for row, item in enumerate(items):
        count = len(item["input_ids"])
        batch["input_ids"][row, :count] = item["input_ids"]
        batch["attention_mask"][row, :count] = 1
    return batch


def padded_with_labels(items: Sequence[Item]) -> Arrays:
    """As ``padded``, and where all items have them ``labels`` [B,L] int64, padded with ``UNKNOWN`` at their end."""
    batch = padded(items)
    if all("labels" in item for item in items):
        batch["labels"] = np.full((len(items), max(len(item["labels"]) for item in items)), UNKNOWN, dtype=np.int64)
        for row, item in enumerate(items):
            batch["labels"][row, : len(item["labels"])] = item["labels"]
    return batch


def text_of(value: Any, field: str = "text") -> str:
    """A cell as a text, as it is, not stripped. Raises ``RowError`` when it is empty, no text or cannot be written."""
    if not isinstance(value, str) or not value.strip():
        raise RowError(field, "is empty or no text", "fill it in or remove the row")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RowError(field, "holds half a character (a lone surrogate)", "save the file as UTF-8") from None
    return value


def requested(body: Mapping[str, Any]) -> list[str]:
    """The texts in ``{"text": "..."}`` or ``{"texts": [...]}``, as they were sent; raises ``InputError``."""
    texts = body.get("texts", body.get("text"))
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not texts:
        raise InputError("text: a text or a list of texts is needed", 'send {"text": "..."} or {"texts": ["...", "..."]}')
    try:
        return [text_of(text, f"texts[{number}]") for number, text in enumerate(texts)]
    except RowError as error:
        raise InputError(f"{error.field}: {error.reason}", "send a string with at least one letter, in whole characters") from None


def ranked(scores: Mapping[str, float]) -> dict[str, float]:
    """Scores as they are sent: the best first, six digits."""
    return {label: round(score, 6) for label, score in sorted(scores.items(), key=lambda pair: -pair[1])}
