"""What every task promises: an example with an id of its content, one encode and one decode for all stages, and a model that is kept."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.errors import InputError, RowError
from luthier.core.plan import TrainPlan
from luthier.core.ports import Task
from luthier.core.types import Arrays, Example, Finding, Item, Place, Prediction, Schema
from luthier.core.writing import writes
from luthier.stages.carried import carry
from luthier.testing import made
from luthier.testing.claim import as_json, checks, ensure, refuses, without
from luthier.testing.shape import check_shape

_HERE = Path()


@checks
def check_task(plugin: Any, rows: Sequence[Mapping[str, Any]] = (), base: Path = _HERE) -> None:
    """``rows``: good rows under the task's own column names, of different content; ``base``: the folder of a model to start from.

    By default rows with ``text`` and ``label`` (one label, then several) and a base model of 32 dimensions of the first of the task's
    architectures are made.
    """
    check_shape(plugin, Task)
    sets = [list(rows)] if rows else [made.rows(), made.rows(several=True)]
    lacking = [column.name for column in plugin.columns if column.required and column.name not in sets[0][0]]
    ensure(not lacking, f"{plugin.name}: the rows have no column {lacking}: give some with rows=")
    folder = base if base != _HERE else made.base(architecture=plugin.architectures[0])
    for some in sets:
        with without("torch", "transformers", what=f"{plugin.name}: example, encode or collate"):
            examples = _check_examples(plugin, some)
            schema = _check_schema(plugin, examples)
            items = _check_encode(plugin, examples, folder, schema)
            batch = _check_collate(plugin, items)
        outputs = _check_model(plugin, folder, schema, batch)
        with without("torch", "transformers", what=f"{plugin.name}: decode, answer or request"):
            _check_decode(plugin, examples, batch, carry(plugin, items, outputs), schema)
    refuses(InputError, lambda: plugin.request({}), f"{plugin.name}: request must refuse an empty body")


def _check_examples(plugin: Any, rows: Sequence[Mapping[str, Any]]) -> list[Example]:
    found = [plugin.example(row, Place("made.csv", number)) for number, row in enumerate(rows, 2)]
    ensure(all(isinstance(one, Example) for one in found), f"{plugin.name}: example must give an Example")
    for number, (row, one) in enumerate(zip(rows, found, strict=True), 2):
        elsewhere = plugin.example({**row, "another_column": 1}, Place("other.csv", 99))
        ensure(one.source == f"made.csv:{number}", f"{plugin.name}: source is {one.source!r}, not 'made.csv:{number}'")
        ensure(one.id == elsewhere.id, f"{plugin.name}: the id changes with the place of a row: it must follow the content alone")
        there = plugin.with_text(one, made.AWKWARD)
        ensure(plugin.text(there) == made.AWKWARD, f"{plugin.name}: with_text gives an example with another text")
        ensure(there.id != one.id, f"{plugin.name}: with_text keeps the id, though the content is new")
        ensure(there.target == one.target, f"{plugin.name}: with_text changes the target")
        back = plugin.with_text(there, plugin.text(one))
        ensure(back.id == one.id, f"{plugin.name}: the same content has the ids {one.id} and {back.id}")
        ensure(isinstance(plugin.stratum(one), str), f"{plugin.name}: stratum gives {plugin.stratum(one)!r}, not a text")
        as_json([one.id, one.inputs, one.target], f"{plugin.name}: an example")
    ensure(len({one.id for one in found}) == len(found), f"{plugin.name}: rows of different content have one id")
    if any(column.required for column in plugin.columns):
        refuses(RowError, lambda: plugin.example({}, Place("made.csv", 1)), f"{plugin.name}: a row without its columns must be refused")
    return found


def _check_schema(plugin: Any, examples: Sequence[Example]) -> Schema:
    targets = [one.target for one in examples]
    schema: Schema = plugin.schema(targets)
    as_json(schema, f"{plugin.name}: the schema")
    ensure(schema == plugin.schema(reversed(targets)), f"{plugin.name}: the schema changes with the order of the rows")
    refuses(InputError, lambda: plugin.schema([]), f"{plugin.name}: a schema of no targets must be refused")
    findings = plugin.findings(schema, Counter(plugin.stratum(one) for one in examples))
    known = isinstance(findings, list) and all(isinstance(one, Finding) for one in findings)
    ensure(known, f"{plugin.name}: findings must give a list of Finding")
    return schema


def _check_encode(plugin: Any, examples: Sequence[Example], folder: Path, schema: Schema) -> list[Item]:
    processor = plugin.processor(folder, schema)
    items: list[Item] = plugin.encode(examples, processor, schema)
    ensure(len(items) == len(examples), f"{plugin.name}: encode gives {len(items)} items for {len(examples)} examples")
    arrays = all(isinstance(value, np.ndarray) for item in items for value in item.values())
    ensure(arrays, f"{plugin.name}: encode must give numpy arrays")
    ensure(all("labels" in item for item in items), f"{plugin.name}: encode leaves out known targets (labels)")
    ensure(_same(items, plugin.encode(examples, processor, schema)), f"{plugin.name}: encode gives other arrays the second time")
    alone = [plugin.encode([one], processor, schema)[0] for one in examples]
    ensure(_same(items, alone), f"{plugin.name}: encode gives an example other arrays in company than alone")
    bare = plugin.encode([replace(one, target=None) for one in examples], processor, schema)
    inputs = [{name: value for name, value in item.items() if name != "labels"} for item in items]
    if writes(plugin):  # the answer is a part of the input while it is learned: before it, all must be the same
        inputs, bare = ([{"prompt": item["input_ids"][: int(item["prompt"][0])]} for item in some] for some in (items, bare))
    ensure(_same(inputs, bare), f"{plugin.name}: encode gives other inputs when the target is unknown: training and serving would differ")
    lengths = [plugin.length(item) for item in items]
    ensure(all(isinstance(one, int) and one > 0 for one in lengths), f"{plugin.name}: length must be a whole number above 0: {lengths[:5]}")
    return items


def _same(some: Sequence[Item], others: Sequence[Item]) -> bool:
    return all(
        one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
        for one, other in zip(some, others, strict=True)
    )


def _check_collate(plugin: Any, items: Sequence[Item]) -> Arrays:
    """Each item stands in the batch as it stands alone, at the start of its row."""
    batch: Arrays = plugin.collate(items)
    for name, value in batch.items():
        ensure(len(value) == len(items), f"{plugin.name}: collate gives {name} of shape {list(np.shape(value))} for {len(items)} items")
    for row, item in enumerate(items):
        for name, value in plugin.collate([item]).items():
            part = batch[name][row][tuple(slice(0, size) for size in value.shape[1:])]
            ensure(np.array_equal(part, value[0]), f"{plugin.name}: collate changes {name} of an item: it may only pad at the end")
    if "attention_mask" in batch:
        filled = batch["attention_mask"].sum(axis=1).tolist()
        ensure(filled == [plugin.length(item) for item in items], f"{plugin.name}: attention_mask must hide exactly the padding")
    return batch


def _check_model(plugin: Any, folder: Path, schema: Schema, batch: Arrays) -> Arrays:
    """The same seed makes the same model; what was saved answers like what was in hand; its graphs name what there is."""
    import torch

    tensors = {name: torch.as_tensor(value) for name, value in batch.items()}
    asked = {name: value for name, value in tensors.items() if name != "labels"}
    model, twin = (plugin.load(folder, schema, seed=5).eval() for _ in range(2))
    loss = plugin.loss(model(**asked), tensors, schema, TrainPlan(), None)
    ensure(loss.ndim == 0 and math.isfinite(loss.item()), f"{plugin.name}: loss must be one finite number, not {loss}")
    ensure(bool(loss.requires_grad), f"{plugin.name}: nothing can be learned from the loss: it has no gradient")
    place = made.folder()
    plugin.save(model, place)
    with torch.inference_mode():
        outputs = {name: value.numpy() for name, value in model(**asked).items()}
        kept = plugin.load(place, schema).eval()
        for other, sentence in ((twin, "the same seed makes another model"), (kept, "save and load change the answers")):
            found = {name: value.numpy() for name, value in other(**asked).items()}
            ensure(_same([outputs], [found]), f"{plugin.name}: {sentence}")
    for graph in plugin.graphs(model, batch):
        ensure(set(graph.inputs) <= set(graph.sample), f"{plugin.name}: graph {graph.name} has no sample of {graph.inputs}")
        there = set(graph.outputs) <= set(outputs)
        ensure(there, f"{plugin.name}: graph {graph.name} promises {graph.outputs}, the model gives {sorted(outputs)}")
    return outputs


def _check_decode(plugin: Any, examples: Sequence[Example], batch: Arrays, outputs: Arrays, schema: Schema) -> None:
    ids = [one.id for one in examples]
    answers: list[Prediction] = plugin.decode(ids, outputs, schema, {})
    ensure([one.id for one in answers] == ids, f"{plugin.name}: decode must answer every id, in the order of the ids")
    turned = plugin.decode(ids[::-1], {name: value[::-1] for name, value in outputs.items()}, schema, {})[::-1]
    same = [one.output for one in turned] == [one.output for one in answers]
    ensure(same, f"{plugin.name}: decode answers the same rows otherwise when they come in another order")
    for one in answers:
        ensure(0 <= one.confidence <= 1, f"{plugin.name}: a confidence is {one.confidence}, not 0 to 1")
        said = plugin.answer(one, scores=True)
        as_json(said, f"{plugin.name}: answer")
        ensure(said.get("id") == one.id, f"{plugin.name}: answer must carry the id")
    logits = outputs.get("logits")
    plain = logits is not None and (batch["labels"].ndim == 1 or batch["labels"].shape[1:] == logits.shape[1:])
    if logits is not None and plain:
        right = _right(batch["labels"], logits.shape[1])
        found = [one.output for one in plugin.decode(ids, {**outputs, "logits": right}, schema, {})]
        wrong = [(one.target, other) for one, other in zip(examples, found, strict=True) if one.target != other]
        ensure(not wrong, f"{plugin.name}: a target that is encoded and decoded comes back as another: {wrong[:1]}")


def _right(labels: Any, classes: int) -> Any:
    """Logits [rows, classes] that say exactly the encoded labels."""
    marks = np.eye(classes)[labels] if labels.ndim == 1 else labels
    return (20.0 * marks - 10.0).astype(np.float32)
