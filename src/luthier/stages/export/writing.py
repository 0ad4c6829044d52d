"""Exports of models that write: each runtime at each precision, compared with torch on what it writes, timed with many at once."""

from __future__ import annotations

import platform
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core import registry
from luthier.core.chat_template import TOKENIZER_FILES
from luthier.core.errors import Damaged, GateRefused, MissingExtra
from luthier.core.events import NoteSaid, StageProgressed
from luthier.core.hooks import beside
from luthier.core.job import Job
from luthier.core.plan import ExportPlan
from luthier.core.ports import Emit, Judged, Task
from luthier.core.types import Arrays, Example, Schema
from luthier.core.writing import Sampling, Writer, Wrote, as_arrays, most_new_tokens, stops_of
from luthier.stages.writing import chosen, prompt_of
from luthier.store import datasets, files

ROWS = 32
"""Evaluation rows that every candidate writes for."""
COMPARED_TOKENS = 32
LEAST_SAME = 0.99
"""Of the first tokens of fp32 weights, those that must be torch's: rounding decides between two that are nearly as likely."""
METRIC = ("rouge", "rouge_l")
"""What a candidate must not lose: it needs what was written alone."""
TIMED_TOKENS = 48
COPIED = (*TOKENIZER_FILES, "preprocessor_config.json", "schema.json")


@dataclass(frozen=True)
class Speed:
    """With ``streams`` at once: tokens a second of all together, and the median milliseconds to a first token."""

    streams: int
    tokens_per_s: float
    first_token_ms: float


@dataclass(frozen=True)
class Candidate:
    """A runtime at a precision. ``same``: share of torch's first tokens that it writes too; ``value``: its ROUGE-L, ``loss``: what that
    lost.
    """

    runtime: str
    bits: int
    folder: Path
    same: float
    same_texts: float
    value: float
    loss: float
    speeds: list[Speed]

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.runtime}, {self.bits} bits"

    def at(self, streams: int) -> float:
        """Tokens a second under that load."""
        return next(one.tokens_per_s for one in self.speeds if one.streams == streams)


@dataclass(frozen=True)
class Rows:
    """What every candidate is asked, and what torch wrote."""

    examples: list[Example]
    prompts: list[list[int]]
    stops: tuple[int, ...]
    most: int
    ids: list[list[int]]
    texts: list[str]
    value: float
    beside: list[Arrays]
    """Of each prompt what belongs to it (a picture's pixels)."""


def run(job: Job, emit: Emit) -> dict[str, Any]:
    """Writes the exported folder into ``work/out``; raises ``GateRefused`` when no candidate writes as well as the model."""
    task: Task = registry.get("tasks", job.plan.task)
    source, plan = Path(job.inputs["model"]), job.plan.export
    schema: Schema = files.read_json(source / "schema.json")
    processor = task.processor(source, schema)
    rows = _rows(job, task, schema, processor, source)
    wanted = _wanted(plan, files.read_json(source / "config.json"), emit)
    found: list[Candidate] = []
    for number, (name, bits) in enumerate(wanted):
        emit(StageProgressed(stage="export", phase=f"{name}, {bits} bits", done=number, total=len(wanted), unit="candidates"))
        folder = _converted(job, name, bits, source, emit)
        found.append(_candidate(task, name, bits, folder, rows, processor, plan, schema))
        emit(NoteSaid(text=_line(found[-1], plan)))
    best = choose(found, plan)
    emit(StageProgressed(stage="export", phase="done", done=len(wanted), total=len(wanted), unit="candidates"))
    return _write(job, task, rows, found, best)


def _wanted(plan: ExportPlan, config: dict[str, Any], emit: Emit) -> list[tuple[str, int]]:
    """Runtimes that are installed and fit the model, the exact weights first."""
    found: list[tuple[str, int]] = []
    reasons = []
    for name in plan.runtimes:
        runtime = registry.get("runtimes", name)
        reason = (
            "it runs graphs, and this model writes" if not getattr(runtime, "writes", False) else runtime.missing() or runtime.fits(config)
        )
        if reason:
            reasons.append(f"{name}: {reason}")
            emit(NoteSaid(level="warning", text=f"export: {name} is left out: {reason}"))
            continue
        found += [(name, bits) for bits in sorted(runtime.precisions, reverse=True)]
    if not found:
        raise MissingExtra("none of the runtimes " + ", ".join(plan.runtimes) + f" ({'; '.join(reasons)})", "genai")
    return found


def _rows(job: Job, task: Task, schema: Schema, processor: Any, source: Path) -> Rows:
    """Test rows (else validation), and what the trained model writes for them, greedily."""
    import torch

    from luthier.networks import generation

    dataset = Path(job.inputs["dataset"])
    known = datasets.read_split(dataset, "test") or datasets.read_split(dataset, "validation")
    if not known:
        raise Damaged(f"{dataset}: there are no evaluation rows to compare answers on", "run prepare again")
    examples = [known[row] for row in chosen(len(known), min(ROWS, job.plan.export.rows))]
    items = task.encode([replace(one, target=None) for one in examples], processor, schema)
    prompts, stops, most = [prompt_of(item) for item in items], stops_of(task, processor, schema), most_new_tokens(task, schema)
    given = [beside(task, item) for item in items]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ids = generation.write(task.load(source, schema).eval(), prompts, most, stops, beside=given)
    finally:
        torch.set_num_threads(before)
    texts = [processor.decode(one).strip() for one in ids]
    return Rows(examples, prompts, stops, most, ids, texts, _value(task, examples, texts, schema), given)


def _value(task: Task, examples: Sequence[Example], texts: Sequence[str], schema: Schema) -> float:
    outputs = as_arrays(texts)
    predictions = task.decode([one.id for one in examples], outputs, schema, {})
    scores = registry.get("metrics", METRIC[0]).compute(Judged(examples, predictions, outputs, schema))
    return float(next(one.value for one in scores if one.name == METRIC[1]))


def _converted(job: Job, name: str, bits: int, source: Path, emit: Emit) -> Path:
    """The candidate's folder; a whole one that an earlier try left is used again."""
    root = Path(job.work) / "writers"
    root.mkdir(parents=True, exist_ok=True)
    files.sweep(root)
    place = root / f"{name}-{bits}"
    if not place.exists():
        start = time.perf_counter()
        with files.folder_aside(place) as aside:
            registry.get("runtimes", name).convert_model(source, aside, bits)
        emit(NoteSaid(text=f"export: {name} with {bits} bits made in {time.perf_counter() - start:.1f} s"))
    return place


def _candidate(task: Task, name: str, bits: int, folder: Path, rows: Rows, processor: Any, plan: ExportPlan, schema: Schema) -> Candidate:
    writer: Writer = registry.get("runtimes", name).open_writer(folder)
    try:
        ids = write_all(writer, rows.prompts, Sampling(max_tokens=rows.most, stop_ids=rows.stops), rows.beside)[0]
        speeds = [measure(writer, rows, streams, plan.latency_seconds) for streams in sorted({1, plan.streams, 32})]
    finally:
        writer.close()
    texts = [processor.decode(one).strip() for one in ids]
    pairs = [(a[:COMPARED_TOKENS], b[:COMPARED_TOKENS]) for a, b in zip(ids, rows.ids, strict=True)]
    same = sum(sum(x == y for x, y in zip(a, b, strict=False)) for a, b in pairs) / max(1, sum(max(len(a), len(b)) for a, b in pairs))
    value = _value(task, rows.examples, texts, schema)
    equal = float(np.mean([a == b for a, b in zip(texts, rows.texts, strict=True)]))
    found = Candidate(name, bits, folder, same, equal, value, rows.value - value, speeds)
    if bits == 32 and same < LEAST_SAME:
        raise GateRefused(
            f"export: with exact weights {name} writes only {same:.1%} of the trained model's first tokens on {len(rows.prompts)} rows; "
            f"at least {LEAST_SAME:.0%} must be the same",
            "the conversion is wrong for this model: report it, with the model's architecture",
        )
    return found


def write_all(
    writer: Writer, prompts: Sequence[Sequence[int]], sampling: Sampling, beside: Sequence[Arrays] = ()
) -> tuple[list[list[int]], list[float]]:
    """What is written for all prompts at once, and the seconds until each one's first token. ``beside``: what belongs to each prompt.

    Raises ``Damaged`` when a text breaks off.
    """
    ids: list[list[int]] = [[] for _ in prompts]
    firsts, errors = [0.0] * len(prompts), []
    left = threading.Semaphore(0)
    start = time.perf_counter()

    def hear(number: int, said: Wrote) -> bool:
        if not ids[number] and not firsts[number]:
            firsts[number] = time.perf_counter() - start
        ids[number] += said.ids
        if said.error:
            errors.append(said.error)
        if said.finish:
            left.release()
        return True

    for number, prompt in enumerate(prompts):
        writer.write(prompt, sampling, partial(hear, number), beside[number] if beside else None)
    for _ in prompts:
        left.acquire()
    if errors:
        raise Damaged(f"export: a text broke off: {errors[0]}", "report it, with the model's architecture")
    return ids, firsts


def measure(writer: Writer, rows: Rows, streams: int, seconds: float) -> Speed:
    """Rounds of ``streams`` texts at once, of ``TIMED_TOKENS`` each, for at least ``seconds``."""
    sampling = Sampling(max_tokens=TIMED_TOKENS)
    numbers = [number % len(rows.prompts) for number in range(streams)]
    asked, given = [rows.prompts[one] for one in numbers], [rows.beside[one] for one in numbers]
    rates: list[float] = []
    firsts: list[float] = []
    end = time.perf_counter() + seconds
    while not rates or time.perf_counter() < end:
        start = time.perf_counter()
        ids, first = write_all(writer, asked, sampling, given)
        rates.append(sum(map(len, ids)) / (time.perf_counter() - start))
        firsts += first
    return Speed(streams, round(float(np.median(rates)), 1), round(float(np.median(firsts)) * 1e3, 2))


def choose(found: Sequence[Candidate], plan: ExportPlan) -> Candidate:
    """The fastest under the plan's load that loses no more than the plan allows; raises ``GateRefused`` with every figure."""
    passing = [one for one in found if one.loss <= plan.max_metric_loss]
    if not passing:
        figures = "; ".join(f"{one.title}: {METRIC[1]} fell by {one.loss:.4f}" for one in found)
        raise GateRefused(f"export: nothing writes as well as the trained model ({figures})", "allow more with export.max_metric_loss")
    return max(passing, key=lambda one: one.at(plan.streams))


def _line(one: Candidate, plan: ExportPlan) -> str:
    """One candidate for the reader."""
    rates = ", ".join(f"{speed.tokens_per_s:,.0f} with {speed.streams}" for speed in one.speeds)
    return (
        f"export: {one.title}: tokens/s {rates} at once; {one.same_texts:.0%} of the texts as torch writes them, "
        f"{METRIC[1]} {-one.loss:+.4f} (allowed {-plan.max_metric_loss:+.4f})"
    )


def _write(job: Job, task: Task, rows: Rows, found: Sequence[Candidate], best: Candidate) -> dict[str, Any]:
    """The folder, whole: the runtime's files, what encodes and decodes, and why this one."""
    out, model, dataset = Path(job.work) / "out", Path(job.inputs["model"]), Path(job.inputs["dataset"])
    shutil.rmtree(out, ignore_errors=True)
    streams = job.plan.export.streams
    why = f"{best.title}: {best.at(streams):,.0f} tokens/s with {streams} at once, the fastest within tolerance"
    figures = {
        f"{one.runtime}-{one.bits}": {
            "rows": len(rows.prompts),
            "same_tokens": one.same,
            "same_texts": one.same_texts,
            METRIC[1]: one.value,
            "metric_loss": one.loss,
            "speeds": [asdict(speed) for speed in one.speeds],
        }
        for one in found
    }
    with files.folder_aside(out) as aside:
        for path in sorted(best.folder.iterdir()):
            shutil.copyfile(path, aside / path.name)
        wanted = [model / name for name in COPIED] + [dataset / "profile.json"]
        for path in wanted:
            if path.is_file():
                shutil.copyfile(path, aside / path.name)
        if not (aside / "config.json").exists():
            shutil.copyfile(model / "config.json", aside / "config.json")
        libraries = {name: version(name) for name in ("torch", "transformers", "onnxruntime")}
        facts = {
            "task": task.name,
            "writes": True,
            "runtime": best.runtime,
            "bits": best.bits,
            "threads": 1,
            "why": why,
            "parents": job.parents,
            "trained": {"metric": METRIC[1], "value": rows.value},
            "candidates": figures,
            "made_with": libraries | {"machine": platform.machine()},
        }
        files.write_json(aside / "export.json", facts)
        files.write_json(aside / "plan.json", job.plan.model_dump(mode="json"))
    return {
        "runtime": best.runtime,
        "bits": best.bits,
        "why": why,
        "size_mb": round(sum(path.stat().st_size for path in out.iterdir()) / 1e6, 1),
        "same_texts": best.same_texts,
        "metric_loss": best.loss,
        "tokens_per_s": {str(speed.streams): speed.tokens_per_s for speed in best.speeds},
    }
