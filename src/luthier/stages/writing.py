"""What a model writes for encoded examples, in torch: from the prompt alone, so that no token of a target reaches it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from luthier.core.hooks import beside
from luthier.core.ports import Task
from luthier.core.types import Arrays, Item, Schema
from luthier.core.writing import as_arrays, most_new_tokens, stops_of, writes
from luthier.stages.inference import predict


def prompt_of(item: Item) -> list[int]:
    """The tokens that an answer starts from."""
    return [int(one) for one in item["input_ids"][: int(item["prompt"][0])]]


def chosen(count: int, most: int) -> list[int]:
    """At most ``most`` of the row numbers, evenly spaced."""
    kept = min(count, most)
    return [number * count // kept for number in range(kept)]


def written(task: Task, model: Any, items: Sequence[Item], processor: Any, schema: Schema, most_rows: int) -> Arrays:
    """``core.writing``'s arrays for all items; texts for at most ``most_rows`` of them, evenly spaced."""
    from luthier.networks import generation

    rows = chosen(len(items), most_rows)
    prompts = [prompt_of(items[row]) for row in rows]
    given = [beside(task, items[row]) for row in rows]
    ids = generation.write(model, prompts, most_new_tokens(task, schema), stops_of(task, processor, schema), beside=given)
    texts: list[str | None] = [None] * len(items)
    for row, one in zip(rows, ids, strict=True):
        texts[row] = processor.decode(one, skip_special_tokens=True).strip()
    return as_arrays(texts)


def answered(task: Task, model: Any, items: Sequence[Item], processor: Any, schema: Schema, *, most_rows: int, cut: int = 0) -> Arrays:
    """The model's outputs (``inference.predict``), and of a task that writes what it wrote."""
    outputs = predict(task, model, items, cut=cut)
    return outputs | written(task, model, items, processor, schema, most_rows) if writes(task) and items else outputs
