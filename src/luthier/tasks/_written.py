"""What tasks that write share: pieces of text as tokens, some of them learned; the losses' network; answers from what was written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.chat_template import PLAIN, ChatTemplate, Segment, content_of, end_ids, end_words, of
from luthier.core.edits import Edit
from luthier.core.errors import InputError
from luthier.core.plan import TrainPlan
from luthier.core.ports import Graph
from luthier.core.types import Arrays, Calibration, Example, Finding, Item, Prediction, Schema, content_id
from luthier.core.writing import texts_in
from luthier.tasks._text import UNKNOWN, padded, tokenizer_in

MAX_TOKENS = 4096
MOST_NEW_TOKENS = 256
RUNTIMES = ("onnxruntime-genai", "openvino-genai")
"""What an export tries where nobody says otherwise."""
CHARACTERS_A_TOKEN = 2
"""The least that a token of a target holds, on average."""
SEPARATOR = "\n\n"
"""Between the texts of one example where they are masked and compared as one."""
ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>")
"""What ends an answer is called in one of these ways; the model's folder says more."""


@dataclass(frozen=True)
class Processor:
    """A tokenizer that neither cuts nor adds, the chat template, and the tokens that end an answer."""

    tokenizer: Any
    template: ChatTemplate
    stops: tuple[int, ...]

    def ids(self, segment: Segment) -> list[int]:
        """A piece of text, tokenized by itself; behind an answer the end-of-text, where the template is none of the base's own."""
        end = list(self.stops[:1]) if segment.learned and self.template.name == PLAIN else []
        return [*self.tokenizer.encode(segment.text, add_special_tokens=False).ids, *end]

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Tokens as text."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens))


def processor_in(folder: Path) -> Processor:
    """What the model's folder gives; raises ``Damaged`` without a tokenizer."""
    tokenizer = tokenizer_in(folder)
    named = (tokenizer.token_to_id(word) for word in (*end_words(folder), *ENDS))
    stops = [*end_ids(folder), *(one for one in named if one is not None)]
    return Processor(tokenizer, of(folder), tuple(dict.fromkeys(stops)))


@dataclass(frozen=True)
class Cut:
    """Tokens that fit: ``ids``, ``learned`` (of each 0 or 1), ``prompt`` (how many are given), ``lost`` (how many were cut)."""

    ids: list[int]
    learned: list[int]
    prompt: int
    lost: int


def joined(segments: Sequence[Segment], processor: Processor, most: int) -> Cut:
    """The segments as tokens, at most ``most``: what is too much goes at the front, where the oldest stands.

    The prompt is everything before the last learned segment; without one, everything. An answer that is longer than ``most`` by itself is
    cut at its end, and half of the room is left to what it answers.
    """
    parts = [processor.ids(one) for one in segments]
    last = max((number for number, one in enumerate(segments) if one.learned), default=len(parts))
    before = [(one, int(segments[n].learned)) for n, part in enumerate(parts[:last]) for one in part]
    behind = [(one, int(segments[last + n].learned)) for n, part in enumerate(parts[last:]) for one in part]
    total = len(before) + len(behind)
    behind = behind[: max(most - len(before), most // 2)]
    before = before[len(before) - max(0, min(len(before), most - len(behind))) :]
    kept = before + behind
    return Cut([one for one, _ in kept], [mark for _, mark in kept], len(before), total - len(kept))


class Writes:
    """A task that writes with a decoder. A task gives ``segments`` (the example as the model reads it) and ``pieces`` with ``rebuilt``
    (its texts, to be masked and put back).
    """

    writes = True
    architectures = ("decoder",)
    carried = ("bytes",)
    validation_metric = "token_accuracy"

    def settings(self, method: str, effort: str) -> dict[str, dict[str, Any]]:
        """No output layer is new, so none is fitted first; answers are too few to need dropout; batches as long as a conversation is."""
        rate = {"lora": 1e-3}.get(method, 3e-4)
        epochs = {"quick": 1.0, "standard": 3.0, "best": 5.0}[effort]
        train = {"epochs": epochs, "learning_rate": rate, "batch_tokens": 4096, "dropout": 0.0, "label_smoothing": 0.0, "patience": 2}
        return {"train": {**train, "fitted_head": False}, "export": {"runtimes": list(RUNTIMES)}}

    def segments(self, example: Example, processor: Processor, schema: Schema) -> list[Segment]:
        """What the model reads and what it should write."""
        raise NotImplementedError

    def pieces(self, example: Example) -> list[str]:
        """Every text of the example, target included."""
        raise NotImplementedError

    def rebuilt(self, example: Example, pieces: Sequence[str]) -> Example:
        """The example with other texts in the same places."""
        raise NotImplementedError

    # -- texts -----------------------------------------------------------------------------------------------------------------------

    def text(self, example: Example) -> str:
        """All that the model is given, one text below the other."""
        return self.maskable(replace(example, target=None))

    def maskable(self, example: Example) -> str:
        """The same with what it should answer."""
        return SEPARATOR.join(self.pieces(example))

    def with_edits(self, example: Example, edits: Sequence[Edit]) -> Example:
        """Each replacement in ``maskable`` made in the text that it falls into; one that reaches over a border ends there."""
        changed = self.rebuilt(example, edited_pieces(self.pieces(example), edits))
        return replace(changed, id=content_id(changed.inputs))

    def stratum(self, example: Example) -> str:
        """The row's intent or category, where there is such a column."""
        return str(example.columns.get("intent") or example.columns.get("category") or example.columns.get("source") or "")

    def findings(self, schema: Schema, counts: Mapping[str, int]) -> list[Finding]:
        """Nothing can be odd about texts as there can be about labels."""
        return []

    # -- arrays ----------------------------------------------------------------------------------------------------------------------

    def processor(self, folder: Path, schema: Schema) -> Processor:
        """See ``Processor``."""
        return processor_in(folder)

    def encode(self, examples: Sequence[Example], processor: Processor, schema: Schema) -> list[Item]:
        """Items as ``Task`` says of tasks that write; ``labels`` where the target is known."""
        return [self._item(one, processor, schema) for one in examples]

    def _item(self, example: Example, processor: Processor, schema: Schema) -> Item:
        most = int(schema.get("max_tokens", MAX_TOKENS))
        if example.target is None:  # to be answered: room is left for the answer
            most -= min(self.most_new_tokens(schema), most // 2)
        cut = joined(self.segments(example, processor, schema), processor, most)
        ids, learned = np.array(cut.ids, dtype=np.int64), np.array(cut.learned, dtype=np.int64)
        said = processor.decode([one for one, mark in zip(cut.ids, cut.learned, strict=True) if mark])
        item: Item = {
            "input_ids": ids,
            "loss_mask": learned,
            "prompt": np.array([cut.prompt], dtype=np.int64),
            "bytes": np.array([len(said.encode("utf-8", "replace"))], dtype=np.int64),
        }
        return item if example.target is None else item | {"labels": np.where(learned == 1, ids, UNKNOWN)}

    def length(self, item: Item) -> int:
        """Tokens."""
        return len(item["input_ids"])

    def collate(self, items: Sequence[Item]) -> Arrays:
        """``input_ids``, ``attention_mask`` and ``loss_mask`` [B,S] int64, padded with 0 at the end; ``labels``, padded with -100."""
        batch = padded(items)
        batch["loss_mask"] = np.zeros_like(batch["input_ids"])
        for row, item in enumerate(items):
            batch["loss_mask"][row, : len(item["loss_mask"])] = item["loss_mask"]
        if all("labels" in item for item in items):
            batch["labels"] = np.where(batch["loss_mask"] == 1, batch["input_ids"], UNKNOWN)
        return batch

    def decode(self, ids: Sequence[str], outputs: Arrays, schema: Schema, calibration: Calibration) -> list[Prediction]:
        """What was written, ``None`` where nothing was; confidence is the mean chance (geometric) of the wanted answer's tokens, 0 where
        that was not measured.
        """
        loss = np.asarray(outputs.get("loss_sum", np.full(len(ids), np.inf)), np.float64).reshape(-1)
        mean = loss / np.maximum(np.asarray(outputs.get("predicted", 1.0), np.float64).reshape(-1), 1)
        texts = texts_in(outputs, len(ids))
        return [Prediction(one, text, float(np.exp(-nats))) for one, text, nats in zip(ids, texts, mean, strict=True)]

    def stops(self, processor: Processor, schema: Schema) -> tuple[int, ...]:
        """The tokens that end an answer."""
        return processor.stops

    def most_new_tokens(self, schema: Schema) -> int:
        """How long an answer may become: as the longest of the training data, within the house's limit."""
        return int(schema.get("most_new_tokens", MOST_NEW_TOKENS))

    # -- the network -----------------------------------------------------------------------------------------------------------------

    def load(self, folder: Path, schema: Schema, *, dropout: float = 0.0, pretrained: bool = True, seed: int = 0) -> Any:
        """A ``LanguageModel``."""
        from luthier.networks import language_model

        return language_model.load(folder, dropout=dropout, pretrained=pretrained, seed=seed)

    def save(self, model: Any, folder: Path) -> None:
        """Weights and configuration."""
        model.save(folder)

    def loss(self, outputs: Mapping[str, Any], batch: Mapping[str, Any], schema: Schema, plan: TrainPlan, weights: Any) -> Any:
        """Mean nats a learned token, over the whole batch."""
        return outputs["loss_sum"].sum() / outputs["predicted"].sum().clamp(min=1)

    def counted(self, batch: Mapping[str, Any], schema: Schema, weights: Any) -> float:
        """Learned tokens."""
        return float(batch["loss_mask"][:, 1:].sum())

    def graphs(self, model: Any, sample: Arrays) -> tuple[Graph, ...]:
        """None: a model that writes is exported by runtimes of its own."""
        return ()


def limits(targets: Iterable[Any], field: str) -> Schema:
    """``max_tokens`` of an example and ``most_new_tokens`` of an answer: as long as the longest target may be, 16 to 512.

    Raises ``InputError`` when there is none.
    """
    sizes = [len(content_of(one)) if isinstance(one, dict) else len(one) if isinstance(one, str) else 0 for one in targets]
    if not sizes:
        raise InputError(f"{field}: there is no row to learn from", "add rows, or map the right column")
    return {"max_tokens": MAX_TOKENS, "most_new_tokens": min(512, max(16, max(sizes) // CHARACTERS_A_TOKEN))}


def edited_pieces(pieces: Sequence[str], edits: Sequence[Edit]) -> list[str]:
    """The texts after edits of their joined text (``SEPARATOR`` between them).

    >>> edited_pieces(["call Ann", "Ann is out"], [Edit(5, 8, "<NAME_1>"), Edit(10, 13, "<NAME_1>")])
    ['call <NAME_1>', '<NAME_1> is out']
    """
    found, start = [], 0
    told: set[int] = set()
    for piece in pieces:
        end, at, parts = start + len(piece), start, []
        for number, edit in enumerate(edits):
            if edit.end <= start or edit.start >= end:
                continue
            first, last = max(edit.start, start), min(edit.end, end)
            parts += [piece[at - start : first - start], "" if number in told else edit.text]
            told.add(number)
            at = last
        found.append("".join([*parts, piece[at - start :]]))
        start = end + len(SEPARATOR)
    return found
