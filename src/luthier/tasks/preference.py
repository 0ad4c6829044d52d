"""Preference tuning: of two answers to a conversation the model learns to find the preferred one likelier than it did before.

Direct preference optimization (DPO; Rafailov et al. 2023, arXiv 2305.18290). What comes of it is a chat model like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core import message_rules, preference_rules
from luthier.core.chat_template import Segment, content_of
from luthier.core.edits import Edit
from luthier.core.plan import TrainPlan
from luthier.core.types import Arrays, Column, Example, Item, Place, Schema, content_id
from luthier.tasks._written import MAX_TOKENS, Processor, limits
from luthier.tasks.chat import MESSAGES, TOOLS, Chat, kept, parsed

BETTER, WORSE = "preferred_output", "non_preferred_output"
PREFERRED, REJECTED = "preferred", "non_preferred"
Marked = list[tuple[int, int]]
"""Tokens, each with 1 where it is learned."""


class Preference(Chat):
    """An example's ``inputs`` are ``messages`` and ``tools``; its target holds both answers (lists of messages) and, as ``content``, what
    the preferred one says. Rows of one conversation with other answers are other examples.
    """

    name = "preference"
    summary = "learns from pairs of answers which one people prefer (DPO), with a GPT"
    columns = (
        Column(MESSAGES, "the conversation before the answers (messages, or a text of the user)", aliases=("prompt", "conversation")),
        Column(BETTER, "the preferred answer (messages of the assistant, or a text)", aliases=("preferred_completion", "chosen")),
        Column(WORSE, "the other answer", aliases=("non_preferred_completion", "rejected")),
        Column(TOOLS, "the tools that the assistant may call", required=False),
    )
    primary_metric = "preference_accuracy"
    validation_metric = "preference_accuracy"
    metrics = ("preference", "perplexity", "rouge", "answer-intents", "bleu", "text-length", "repetition")

    def settings(self, method: str, effort: str) -> dict[str, dict[str, Any]]:
        """As of a chat, with small steps: what is learned is a difference, and the rest of the model should stay as it is."""
        found = super().settings(method, effort)
        rate, epochs = {"lora": 5e-5}.get(method, 5e-6), {"quick": 1.0, "standard": 2.0, "best": 3.0}[effort]
        return {**found, "train": {**found["train"], "learning_rate": rate, "epochs": epochs}}

    def example(self, row: Mapping[str, Any], place: Place) -> Example:
        """Raises ``RowError`` for a pair that breaks a rule."""
        asked, better, worse = (_messages(row.get(name), name) for name in (MESSAGES, BETTER, WORSE))
        tools = parsed(row.get(TOOLS), TOOLS) or []
        preference_rules.pair(asked, better, worse, (MESSAGES, BETTER, WORSE))
        message_rules.tools({TOOLS: tools or None})
        inputs = {MESSAGES: [kept(one) for one in asked], **({TOOLS: tools} if tools else {})}
        rest = {key: value for key, value in row.items() if key not in (MESSAGES, BETTER, WORSE, TOOLS)}
        target = _target([kept(one) for one in better], [kept(one) for one in worse])
        return _identified(Example("", inputs, target, "", str(place), rest))

    def schema(self, targets: Iterable[Any]) -> Schema:
        """Raises ``InputError`` when there is nothing to learn from."""
        return limits(targets, BETTER)

    def fitted(self, schema: Schema, plan: TrainPlan) -> Schema:
        """``beta`` scales the margins that are reported."""
        return {**schema, "beta": plan.beta}

    def pieces(self, example: Example) -> list[str]:
        """What each message says, those of the preferred answer and of the other one last."""
        said = super().pieces(replace(example, target=None))
        return said if example.target is None else [*said, *map(content_of, [*example.target[PREFERRED], *example.target[REJECTED]])]

    def rebuilt(self, example: Example, pieces: Sequence[str]) -> Example:
        """Texts of parts become one text."""
        changed = super().rebuilt(replace(example, target=None), pieces)
        if example.target is None:
            return changed
        texts, better = list(pieces[len(example.inputs[MESSAGES]) :]), len(example.target[PREFERRED])
        said = [*example.target[PREFERRED], *example.target[REJECTED]]
        told = [{**one, "content": text} if text or one.get("content") else one for one, text in zip(said, texts, strict=True)]
        return replace(changed, target=_target(told[:better], told[better:]))

    def with_text(self, example: Example, text: str) -> Example:
        """The conversation becomes one message of a user."""
        return _identified(super().with_text(example, text))

    def with_edits(self, example: Example, edits: Sequence[Edit]) -> Example:
        """See ``Writes``."""
        return _identified(super().with_edits(example, edits))

    # -- arrays ----------------------------------------------------------------------------------------------------------------------

    def _item(self, example: Example, processor: Processor, schema: Schema) -> Item:
        """With the target known ``input_ids`` and ``loss_mask`` are of the preferred answer, ``rejected_ids`` and ``rejected_mask`` of the
        other; both follow the same prompt, which loses its oldest tokens where the longer of them needs the room.
        """
        if example.target is None:
            return super()._item(example, processor, schema)
        most = int(schema.get("max_tokens", MAX_TOKENS))
        read = [{**one, "weight": 0} for one in example.inputs[MESSAGES]]
        (prompt, better), (_, worse) = (
            _halves(processor.template.segments([*read, *example.target[name]], example.inputs.get(TOOLS, [])), processor)
            for name in (PREFERRED, REJECTED)
        )
        room = max(most - len(prompt), most // 2)
        better, worse = better[:room], worse[:room]
        prompt = prompt[max(0, len(prompt) + max(len(better), len(worse)) - most) :]
        ids, learned = _arrays(prompt + better)
        rejected, counted = _arrays(prompt + worse)
        said = processor.decode([one for one, mark in better if mark])
        return {
            "input_ids": ids,
            "loss_mask": learned,
            "prompt": np.array([len(prompt)], dtype=np.int64),
            "bytes": np.array([len(said.encode("utf-8", "replace"))], dtype=np.int64),
            "labels": np.where(learned == 1, ids, -100),
            "rejected_ids": rejected,
            "rejected_mask": counted,
        }

    def length(self, item: Item) -> int:
        """Tokens of both answers, each with its prompt."""
        return len(item["input_ids"]) + len(item.get("rejected_ids", ()))

    def collate(self, items: Sequence[Item]) -> Arrays:
        """As of a chat, and ``rejected_ids``, ``rejected_mask`` [B,S'] int64, padded with 0; ``reference`` [B,1] where all have it."""
        batch = super().collate(items)
        if all("rejected_ids" in item for item in items):
            del batch["attention_mask"]  # a causal model needs none for padding at the end, and the masks leave it out of the sums
            longest = max(len(item["rejected_ids"]) for item in items)
            for name in ("rejected_ids", "rejected_mask"):
                batch[name] = np.stack([np.pad(item[name], (0, longest - len(item[name]))) for item in items])
            if all("reference" in item for item in items):
                batch["reference"] = np.stack([item["reference"] for item in items])
        return batch

    # -- the network -----------------------------------------------------------------------------------------------------------------

    def load(self, folder: Path, schema: Schema, *, dropout: float = 0.0, pretrained: bool = True, seed: int = 0) -> Any:
        """A ``PreferenceModel``."""
        from luthier.networks import preference_model

        return preference_model.load(folder, dropout=dropout, pretrained=pretrained, seed=seed)

    def reference(self, outputs: Arrays) -> Arrays:
        """By how many nats the start model finds the preferred answer likelier: the loss compares with it."""
        if "rejected_loss_sum" not in outputs:
            return {}
        return {"reference": (outputs["rejected_loss_sum"] - outputs["loss_sum"])[:, None].astype(np.float32)}

    def loss(self, outputs: Mapping[str, Any], batch: Mapping[str, Any], schema: Schema, plan: TrainPlan, weights: Any) -> Any:
        """Mean over pairs of -log sigmoid(beta * (gain of the preferred answer - gain of the other)), equation 7 of the paper; without a
        reference, as if the start model found both alike.
        """
        from torch.nn import functional

        gained = outputs["rejected_loss_sum"] - outputs["loss_sum"] - outputs.get("reference", 0.0)
        return -functional.logsigmoid(plan.beta * gained).mean()

    def counted(self, batch: Mapping[str, Any], schema: Schema, weights: Any) -> float:
        """Pairs."""
        return float(len(batch["input_ids"]))


def _messages(value: Any, field: str) -> Any:
    """A cell may hold messages, the same as JSON, or a plain text, which is said by the user or the assistant."""
    if not isinstance(value, str) or value.lstrip().startswith("["):
        return parsed(value, field)
    return [{"role": "user" if field == MESSAGES else "assistant", "content": value}] if value.strip() else None


def _target(better: list[dict[str, Any]], worse: list[dict[str, Any]]) -> dict[str, Any]:
    return {"content": "\n".join(filter(None, map(content_of, better))), PREFERRED: better, REJECTED: worse}


def _identified(example: Example) -> Example:
    """The id follows both answers too: a conversation may stand in many pairs."""
    about = example.inputs if example.target is None else [example.inputs, example.target[PREFERRED], example.target[REJECTED]]
    return replace(example, id=content_id(about))


def _halves(segments: Sequence[Segment], processor: Processor) -> tuple[Marked, Marked]:
    """The tokens before the first that is learned, and the others."""
    first = next((number for number, one in enumerate(segments) if one.learned), len(segments))
    marked = [[(one, int(part.learned)) for one in processor.ids(part)] for part in segments]
    return list(chain.from_iterable(marked[:first])), list(chain.from_iterable(marked[first:]))


def _arrays(marked: Marked) -> tuple[Any, Any]:
    return np.array([one for one, _ in marked], dtype=np.int64), np.array([mark for _, mark in marked], dtype=np.int64)


plugin = Preference()
