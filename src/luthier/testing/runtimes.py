"""What every runtime promises: graphs converted, opened, and answered as torch answers them, for any batch and any length."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core import registry
from luthier.core.errors import LuthierError
from luthier.core.ports import Graph, Runtime, Session
from luthier.core.types import Arrays
from luthier.core.writing import Sampling, Writer, WritingRuntime
from luthier.stages.export.writing import write_all
from luthier.testing import made
from luthier.testing.claim import checks, ensure, refuses
from luthier.testing.shape import check_shape

TOLERANCE = 0.1
"""8-bit arithmetic moves an answer by some hundredths of the largest one."""


@checks
def check_runtime(plugin: Any, tolerance: float = TOLERANCE) -> None:
    """``tolerance``: largest difference from torch's answers, as a share of the largest of them.

    Of a runtime that says what is missing here, only the shape is checked.
    """
    if getattr(plugin, "writes", False):
        check_writing_runtime(plugin)
        return
    check_shape(plugin, Runtime)
    why = plugin.missing()
    ensure(isinstance(why, str), f"{plugin.name}: missing gives {why!r}, not a text")
    if why:
        return
    graphs, source = _graphs(), _onnx()
    place = source if plugin is registry.get("runtimes", "onnx") else made.folder()
    refuses(LuthierError, lambda: plugin.open(made.folder(), graphs[0].name), f"{plugin.name}: opening an empty folder must be refused")
    if place != source:
        plugin.convert(graphs, source, place, _samples())
    for graph in graphs:
        path = place / f"{graph.name}{plugin.suffix}"
        ensure(path.is_file(), f"{plugin.name}: convert must write {path.name}; there is {sorted(one.name for one in place.iterdir())}")
        session = plugin.open(place, graph.name, threads=1)
        check_shape(session, Session)
        _check_answers(plugin, session, graph, tolerance)


def check_writing_runtime(plugin: Any) -> None:
    """A small Llama, converted at the runtime's most exact precision, must write what torch writes, for many at once."""
    check_shape(plugin, WritingRuntime)
    ensure(bool(plugin.precisions), f"{plugin.name}: precisions are empty")
    ensure(bool(plugin.fits({"model_type": "no such kind"})), f"{plugin.name}: fits must say why an unknown kind of model cannot run")
    if plugin.missing():
        return
    base, place = made.base(architecture="vision" if getattr(plugin, "beside", ()) else "decoder"), made.folder() / "converted"
    refuses(LuthierError, lambda: plugin.open_writer(made.folder()), f"{plugin.name}: opening an empty folder must be refused")
    plugin.convert_model(base, place, max(plugin.precisions))
    prompts, beside, right = _written(plugin, base)
    writer = plugin.open_writer(place)
    check_shape(writer, Writer)
    found, _ = write_all(writer, prompts, Sampling(max_tokens=6), beside)
    writer.close()
    same = sum(a == b for a, b in zip(found, right, strict=True))
    ensure(same >= len(prompts) - 1, f"{plugin.name}: writes {same} of {len(prompts)} texts as torch does")


def _written(plugin: Any, base: Path) -> tuple[list[list[int]], list[Arrays], list[list[int]]]:
    """Eight prompts, what belongs to them, and what torch writes."""
    from luthier.networks import generation

    if not getattr(plugin, "beside", ()):
        prompts = [[5 + (n * 7 + k) % 60 for k in range(2 + n % 5)] for n in range(8)]
        model = registry.get("tasks", "chat").load(base, {})
        return prompts, [], generation.write(model, prompts, 6, ())
    task = registry.get("tasks", "image-captioning")
    model = task.load(base, {})
    random = np.random.default_rng(0)
    beside = [{"pixels": random.integers(0, 256, (3, *model.how.size), dtype=np.uint8)} for _ in range(8)]
    prompts = [[0] * model.places for _ in beside]
    return prompts, beside, generation.write(model, prompts, 6, (), beside=beside)


@cache
def _graphs() -> tuple[Graph, ...]:
    task, schema = registry.get("tasks", "text-classification"), made.schema()
    model = task.load(made.base(), schema, seed=1).eval()
    graphs: tuple[Graph, ...] = task.graphs(model, _batch(3, 9))
    return graphs


@cache
def _onnx() -> Path:
    """Where the fp32 ONNX graphs lie that other runtimes convert from; made once a process, because that takes seconds."""
    place = made.folder()
    registry.get("runtimes", "onnx").convert(_graphs(), place, place, _samples())
    return place


def _samples() -> list[Arrays]:
    """Of many lengths: whoever measures ranges on two batches alone is far off on a third."""
    return [_batch(number % 4 + 1, number % 12 + 1) for number in range(24)]


def _batch(rows: int, tokens: int) -> Arrays:
    """A padded batch: every second row is half as long."""
    ids = np.random.default_rng(rows * 100 + tokens).integers(4, 70, (rows, tokens))
    mask = np.ones((rows, tokens), dtype=np.int64)
    mask[1::2, (tokens + 1) // 2 :] = 0
    return {"input_ids": ids * mask, "attention_mask": mask}


def _check_answers(plugin: Any, session: Any, graph: Graph, tolerance: float) -> None:
    batches = [_batch(rows, tokens) for rows, tokens in ((1, 1), (1, 7), (3, 12), (8, 4))]
    answers = [session.run({**batch, "labels": np.zeros(len(batch["input_ids"]), dtype=np.int64)}) for batch in batches]
    for batch, answer in zip(batches, answers, strict=True):
        for name, right in _torch(graph, batch).items():
            ensure(name in answer, f"{plugin.name}: the session does not answer {name}, only {sorted(answer)}")
            said = f"{plugin.name}: {name} of a batch {list(batch['input_ids'].shape)}"
            ensure(answer[name].shape == right.shape, f"{said} is {list(answer[name].shape)}, torch gives {list(right.shape)}")
            off = float(np.abs(answer[name] - right).max() / max(np.abs(right).max(), 1e-12))
            ensure(off <= tolerance, f"{said} is {off:.2%} off torch's answer, {tolerance:.2%} at most")
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(session.run, batches * 4))
    for one, other in zip(answers * 4, together, strict=True):
        same = all(np.array_equal(one[name], other[name]) for name in graph.outputs)
        ensure(same, f"{plugin.name}: several threads that ask at once get other answers")


def _torch(graph: Graph, batch: Arrays) -> Arrays:
    import torch

    with torch.inference_mode():
        found = graph.module(**{name: torch.as_tensor(batch[name]) for name in graph.inputs})
    return {name: found[name].numpy() for name in graph.outputs}
