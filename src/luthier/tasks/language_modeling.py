"""Language modeling: plain text in, the chance of each next token out; how a GPT is pretrained, or learns a firm's language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.errors import InputError
from luthier.core.plan import TrainPlan
from luthier.core.ports import Graph
from luthier.core.types import Arrays, Calibration, Column, Example, Finding, Item, Place, Prediction, Schema, content_id
from luthier.tasks._text import OneText, padded_with_labels, requested, text_of, tokenizer_in

MAX_TOKENS = 2048
TEXT = "text"


class LanguageModeling(OneText):
    """See the module. A row is a text; one that is longer than the model reads is cut there (give a long document in pieces)."""

    name = "language-modeling"
    summary = "next tokens of plain text: pretrains a GPT, or continues its pretraining on a firm's own language"
    columns = (Column(TEXT, "the text, at most as long as the model reads", aliases=("content", "body", "document")),)
    primary_metric = "perplexity"
    metrics = ("perplexity",)
    baselines: tuple[str, ...] = ()
    architectures = ("decoder",)
    carried = ("bytes",)
    exported = False

    def example(self, row: Mapping[str, Any], place: Place) -> Example:
        """The text; the target names the input that is to be predicted. Other columns are kept for slices (``source`` ...)."""
        text = text_of(row.get(TEXT))
        inputs = {TEXT: text.strip()}
        return Example(content_id(inputs), inputs, TEXT, "", str(place), {key: value for key, value in row.items() if key != TEXT})

    def stratum(self, example: Example) -> str:
        """The text's source, where there is such a column: every split holds the same mix."""
        return str(example.columns.get("source", ""))

    def schema(self, targets: Iterable[Any]) -> Schema:
        """How long a text may be; raises ``InputError`` when there is none."""
        if not any(True for _ in targets):
            raise InputError("text: there is no row to learn from", "add rows, or map the right column")
        return {"max_tokens": MAX_TOKENS}

    def findings(self, schema: Schema, counts: Mapping[str, int]) -> list[Finding]:
        """Nothing can be odd about a target that is the text itself."""
        return []

    def processor(self, folder: Path, schema: Schema) -> Any:
        """A ``tokenizers.Tokenizer`` without truncation: ``encode`` cuts, and knows where a text ends."""
        return tokenizer_in(folder)

    def encode(self, examples: Sequence[Example], processor: Any, schema: Schema) -> list[Item]:
        """``input_ids`` [tokens] int64: a begin-of-text where the model has one, the text, its end; ``bytes`` [1] of the text that was kept
        (UTF-8); ``labels`` the ids again, where the target is known.
        """
        most = int(schema.get("max_tokens", MAX_TOKENS))
        first, last = _ends(processor)
        texts = [self.text(one) for one in examples]
        items: list[Item] = []
        for example, text, tokens in zip(examples, texts, processor.encode_batch_fast(texts, add_special_tokens=False), strict=True):
            ids = np.array([*first, *tokens.ids, *last][:most], dtype=np.int64)
            kept = text if len(first) + len(tokens.ids) <= most else processor.decode(tokens.ids[: most - len(first)])
            item: Item = {"input_ids": ids, "bytes": np.array([len(kept.encode())], dtype=np.int64)}
            items.append(item | {"labels": ids} if example.target is not None else item)
        return items

    def collate(self, items: Sequence[Item]) -> Arrays:
        """``input_ids`` and ``attention_mask`` [B,S] int64, padded with 0 at the end; ``labels`` [B,S], padded with -100."""
        return padded_with_labels(items)

    def decode(self, ids: Sequence[str], outputs: Arrays, schema: Schema, calibration: Calibration) -> list[Prediction]:
        """The text's own perplexity as output; confidence is the mean chance (geometric) of its tokens."""
        mean = np.asarray(outputs["loss_sum"], np.float64) / np.maximum(outputs["predicted"], 1)
        return [Prediction(i, float(np.exp(min(loss, 50.0))), float(np.exp(-loss))) for i, loss in zip(ids, mean, strict=True)]

    def load(self, folder: Path, schema: Schema, *, dropout: float = 0.0, pretrained: bool = True, seed: int = 0) -> Any:
        """A ``LanguageModel``."""
        from luthier.networks import language_model

        return language_model.load(folder, dropout=dropout, pretrained=pretrained, seed=seed)

    def save(self, model: Any, folder: Path) -> None:
        """Weights and configuration."""
        model.save(folder)

    def loss(self, outputs: Mapping[str, Any], batch: Mapping[str, Any], schema: Schema, plan: TrainPlan, weights: Any) -> Any:
        """Mean nats a token over the whole batch: a long text weighs more than a short one."""
        return outputs["loss_sum"].sum() / outputs["predicted"].sum().clamp(min=1)

    def counted(self, batch: Mapping[str, Any], schema: Schema, weights: Any) -> float:
        """Predicted tokens: all but the first of each text."""
        return float(batch["attention_mask"][:, 1:].sum() if "attention_mask" in batch else batch["input_ids"][:, 1:].numel())

    def graphs(self, model: Any, sample: Arrays) -> tuple[Graph, ...]:
        """None: a pretrained GPT is a base to tune, and is served by the tasks that answer."""
        return ()

    def request(self, body: Mapping[str, Any]) -> list[Example]:
        """``{"text": "..."}`` or ``{"texts": [...]}``: texts to measure."""
        return [Example(content_id({TEXT: text}), {TEXT: text}) for text in map(str.strip, requested(body))]

    def answer(self, prediction: Prediction, *, scores: bool = False) -> dict[str, Any]:
        """``{id, perplexity}``."""
        return {"id": prediction.id, "perplexity": round(prediction.output, 4)}


def _ends(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Ids before and behind a text: begin-of-text and end-of-text by whichever of their usual names the vocabulary has."""
    return _first(tokenizer, "<s>", "<|begin_of_text|>", "<bos>"), _first(tokenizer, "<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>")


def _first(tokenizer: Any, *names: str) -> list[int]:
    known = [number for name in names if (number := tokenizer.token_to_id(name)) is not None]
    return known[:1]


plugin = LanguageModeling()
