"""The evaluate stage: answers, calibration, scores, comparison, cross-validation, the gate's verdict, and the report."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luthier.core import registry
from luthier.core.events import GateDecided, NoteSaid, StageProgressed
from luthier.core.hooks import compares, tabled
from luthier.core.job import Job
from luthier.core.ports import Emit, Judged, scores_of
from luthier.core.types import Arrays, content_id
from luthier.core.writing import writes
from luthier.stages.evaluate import (
    bootstrap,
    calibrate,
    checks,
    compare,
    crossvalidate,
    gate,
    label_errors,
    mistakes,
    predictions,
    reference,
    report,
    scoring,
    side_by_side,
    slices,
    thresholds,
)
from luthier.stages.evaluate.part import read_result, result_folder
from luthier.stages.evaluate.parts import Part, Parts
from luthier.stages.evaluate.subject import Subject, read
from luthier.stages.inference import gather
from luthier.stages.train.request import depth_of
from luthier.stages.train.threads import cores
from luthier.store import files

TIMED_ROWS = 256
WRITTEN_ROWS = 16
COMPARED = ("accuracy", "macro_f1", "rare_f1", "rouge_1", "rouge_2", "rouge_l")
"""Scores that stand in the table of contenders, beside the primary one."""
VERSION = 1
"""Of the shape of ``evaluation.json``."""


def run(job: Job, emit: Emit) -> dict[str, Any]:
    """Writes the files that ``docs/evaluate.md`` describes into ``work/out``; returns the summary."""
    subject = read(job)
    checks.check(subject)
    wanted = parts_of(subject)
    with Parts(job, wanted, cores(), emit) as parts:
        _say(emit, "answers", 0, 4)
        _compare(subject)
        model = subject.task.load(subject.model, subject.schema).eval()
        validation, test = _answers(subject, model)
        calibration = calibrate.fit(subject, validation)
        judged = subject.judged(subject.test, test, calibration)
        known = subject.judged(subject.validation, validation, calibration) if subject.validation else None
        _say(emit, "scores", 1, 4)
        evaluation = _own(subject, judged, validation)
        _say(emit, "folds and baselines", 2, 4)
        parts.wait()
    _say(emit, "comparison", 3, 4)
    evaluation["comparison"] = _comparison(subject, judged, _row_s(subject, model))
    evaluation["comparison_rule"] = _rule(subject)
    evaluation["written"] = side_by_side.rows(subject, judged) if writes(subject.task) else []
    evaluation["cross_validation"] = _cross_validation(subject, emit)
    evaluation["earlier"] = _earlier(subject, judged)
    evaluation["gate"] = _gate(subject, evaluation, emit)
    _write(subject, evaluation, judged, known)
    _say(emit, "report", 4, 4)
    return summary(evaluation)


def parts_of(subject: Subject) -> list[Part]:
    """Every piece of work for another process: the longest first."""
    plan, task = subject.job.plan, subject.task
    names = list(plan.evaluate.baselines) or list(task.baselines)
    long = [name for name in names if name == "from-scratch"]
    light = [name for name in names if name not in long]
    # Without folds the short baselines are over at once, and a long one would leave the other cores idle.
    threads = 1 if plan.evaluate.folds > 1 or len(long) > 1 else cores()
    parts = [Part(f"baseline-{name}", (f"baseline-{name}",), threads=threads) for name in long]
    if plan.evaluate.folds > 1:
        caches = registry.get("methods", plan.train.method).cut(plan.train, depth_of(subject.base)) > 0
        if caches:
            parts.insert(0, Part("features", ("features",)))
        parts += _fold_parts(plan.evaluate.folds, "features" if caches else "")
    if light:
        parts.insert(min(2, len(parts)), Part(f"baseline-{','.join(light)}", tuple(f"baseline-{name}" for name in light)))
    return parts


def _fold_parts(count: int, after: str) -> list[Part]:
    """Folds dealt out to one process a core, so that libraries are loaded once a core and not once a fold."""
    hands = [range(first, count, cores()) for first in range(min(cores(), count))]
    return [Part(f"fold-{','.join(map(str, hand))}", tuple(f"fold-{number}" for number in hand), after) for hand in hands]


def _compare(subject: Subject) -> None:
    """What the start model says of the test rows, before the tuned one is loaded: two of them may need too much memory."""
    if compares(subject.task):
        with _one_thread():
            subject.compared(subject.items(subject.test, targets=False))


def _answers(subject: Subject, model: Any) -> tuple[Arrays, Arrays]:
    """The model's outputs on validation and on test rows (one thread: the other cores have folds and baselines to run).

    For test rows a model that writes writes its answers, too.
    """
    from luthier.stages.inference import predict

    with _one_thread():
        validation = subject.items(subject.validation, targets=False)
        outputs = predict(subject.task, model, validation) if validation else {}
        return outputs, subject.answers(model, subject.items(subject.test, targets=False))


def _row_s(subject: Subject, model: Any) -> float:
    """Seconds for a test row, one thread, measured on some of them when nothing else of ours runs."""
    with _one_thread():
        items = subject.items(subject.test[: WRITTEN_ROWS if writes(subject.task) else TIMED_ROWS], targets=False)
        start = time.perf_counter()
        subject.answers(model, items)
        return (time.perf_counter() - start) / len(items)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _own(subject: Subject, judged: Judged, validation: Arrays) -> dict[str, Any]:
    """Everything about the model that needs no other model."""
    job, task = subject.job, subject.task
    counts = bootstrap.draw(judged.examples, job.plan.evaluate.bootstrap, job.plan.evaluate.seed)
    table = scoring.table(task, judged, counts)
    lengths = [task.length(item) for item in subject.items(judged.examples, targets=False)]
    return {
        "version": VERSION,
        "task": task.name,
        "run": job.run,
        "name": job.plan.name,
        "model": job.plan.model,
        "method": job.plan.train.method,
        "parents": job.parents,
        "primary_metric": task.primary_metric,
        "rows": {"train": len(subject.train), "validation": len(subject.validation), "test": len(subject.test)},
        "test_rows_id": content_id(sorted([example.id, example.target] for example in judged.examples)),
        "bootstrap": {"resamples": len(counts), "seed": job.plan.evaluate.seed, "interval": "95 %, percentiles less the bootstrap's bias"},
        "scores": table,
        "figures": scoring.figures(task, judged),
        "calibration": calibrate.report(subject, judged.calibration, validation, judged),
        "thresholds": {
            "coverage": [] if writes(task) else thresholds.coverage_curve(judged),
            "binary": thresholds.binary_curve(judged, job.plan.evaluate.costs),
        },
        "costs": thresholds.costs(subject, judged),
        "slices": [] if writes(task) else slices.table(task, judged, lengths, subject.train, job.plan.evaluate.slices),
        "mistakes": [] if writes(task) else mistakes.worst(task, judged),
        "training": {key: value for key, value in subject.training.items() if not isinstance(value, dict | list)},
        "plan": job.plan.model_dump(mode="json"),
    }


def _comparison(subject: Subject, judged: Judged, row_s: float) -> list[dict[str, Any]]:
    """One row a contender, the model last: scores, how far the model is ahead (``gained``), seconds, FLOP, ms a row, paired test.

    All decide by one rule, the model too: what was tuned for it on validation rows would be no merit of fine-tuning.
    """
    names = list(subject.job.plan.evaluate.baselines) or list(subject.task.baselines)
    own = {
        "train_s": subject.training.get("seconds", 0.0),
        "predict_s": row_s * len(judged.examples),
        "train_flop": subject.training.get("flop", 0.0),
    }
    rule = calibrate.decision_rule(subject)
    plain = subject.judged(judged.examples, judged.outputs, rule)
    ours = _contender(subject, "this model", f"fine-tuned, method {subject.plan.method}", plain, own)
    rows = []
    for name in names:
        outputs, facts = read_result(result_folder(subject.work, f"baseline-{name}"))
        other = subject.judged(judged.examples, outputs, rule)
        row = _contender(subject, name, registry.get("baselines", name).summary, other, facts)
        row["gained"] = {score: ours["scores"][score] - value for score, value in row["scores"].items()}
        row["test"] = compare.paired(
            subject.task,
            plain,
            other,
            resamples_wanted=subject.job.plan.evaluate.bootstrap,
            seed=subject.job.plan.evaluate.seed,
            names=("this model", name),
        )
        rows.append(row)
    return [*rows, ours]


def _rule(subject: Subject) -> str:
    """What stands under the table of the comparison."""
    if subject.job.plan.evaluate.costs:
        return "every contender gives the class of least expected cost by its own chances, the model's without its temperature"
    if writes(subject.task):
        return "every contender's text is judged as it wrote it, on the same rows"
    if subject.schema.get("multi_label"):
        return "every contender gives each label from a chance of 0.5, the model too: its tuned thresholds are not used here"
    return "every contender gives its likeliest class"


def _contender(subject: Subject, name: str, about: str, judged: Judged, facts: dict[str, Any]) -> dict[str, Any]:
    shown = (subject.task.primary_metric, *COMPARED, *tabled(subject.task))
    giving = [name for name in subject.task.metrics if {*scores_of(registry.get("metrics", name))} & {*shown}]
    found = scoring.scores(subject.task, judged, giving)
    kept = {score: one.value for score, one in found.items() if score in shown}
    return {
        "name": name,
        "about": about,
        "scores": kept,
        "train_s": float(facts["train_s"]),
        "train_flop": float(facts["train_flop"]),
        "predict_ms_per_row": 1000 * float(facts["predict_s"]) / max(len(judged.examples), 1),
    }


def _cross_validation(subject: Subject, emit: Emit) -> dict[str, Any]:
    """Figures over folds and likely label errors; ``{}`` without folds. Out-of-fold answers are not calibrated."""
    plan = subject.job.plan.evaluate
    if plan.folds < 2:
        return {}
    examples = [*subject.train, *subject.validation]
    results = [read_result(result_folder(subject.work, f"fold-{number}")) for number in range(plan.folds)]
    held = [outputs["rows"] for outputs, _ in results]
    parts = [(outputs["rows"], {name: value for name, value in outputs.items() if name != "rows"}) for outputs, _ in results]
    judged = subject.judged(examples, gather(parts, len(examples)), {})
    found = crossvalidate.summary(
        subject.task, judged, held, [facts for _, facts in results], resamples_wanted=min(plan.bootstrap, 500), seed=plan.seed
    )
    emit(NoteSaid(text=found["stability"]["saying"]))
    if plan.label_errors and not writes(subject.task) and not any(isinstance(example.target, dict) for example in examples):
        found["label_errors"] = label_errors.likely(subject.task, judged)
        emit(NoteSaid(text=f"{found['label_errors']['found']} of {len(examples)} labels are likely wrong; the report lists them"))
    return found


def _earlier(subject: Subject, judged: Judged) -> dict[str, Any]:
    """The paired test against an earlier evaluation; ``{}`` when none was named."""
    folder = subject.job.inputs.get("earlier", "")
    if not folder:
        return {}
    before = predictions.read(Path(folder) / predictions.NAME, subject.schema)
    plan = subject.job.plan.evaluate
    names = ("this model", plan.compare_to or Path(folder).name)
    return compare.paired(subject.task, judged, before, resamples_wanted=plan.bootstrap, seed=plan.seed, names=names)


def _gate(subject: Subject, evaluation: dict[str, Any], emit: Emit) -> dict[str, Any]:
    folder = subject.job.inputs.get("current", "")
    current = files.read_json(Path(folder) / "evaluation.json") if folder else None
    passed, reasons = gate.decide(evaluation, subject.job.plan.evaluate, current)
    emit(GateDecided(gate="evaluate", passed=passed, reasons=reasons))
    return {"passed": passed, "reasons": reasons}


def _write(subject: Subject, evaluation: dict[str, Any], judged: Judged, known: Judged | None) -> None:
    """The artifact's folder, whole."""
    out = subject.work / "out"
    shutil.rmtree(out, ignore_errors=True)
    with files.folder_aside(out) as aside:
        files.write_json(aside / "evaluation.json", evaluation)
        files.write_text(aside / "report.html", report.render(evaluation, side_by_side.thumbnails(judged, evaluation["written"])))
        files.write_json(aside / "calibration.json", judged.calibration)
        predictions.write(aside / predictions.NAME, judged)
        if known is not None:
            lengths = [subject.task.length(item) for item in subject.items(known.examples, targets=False)]
            reference.write(aside, known, lengths, subject.job.plan.evaluate.seed)


def summary(evaluation: dict[str, Any]) -> dict[str, Any]:
    """What a person wants to see of it at once."""
    scores = evaluation["scores"]
    shown = [name for name in (evaluation["primary_metric"], *COMPARED, "perplexity", "ece") if name in scores]
    found: dict[str, Any] = {name: round(scores[name]["value"], 4) for name in dict.fromkeys(shown)}
    primary = scores[evaluation["primary_metric"]]
    if "low" in primary:
        found["interval"] = [round(primary["low"], 4), round(primary["high"], 4)]
    found["gained_points"] = {
        row["name"]: round(100 * row["gained"][evaluation["primary_metric"]], 1) for row in evaluation["comparison"] if "gained" in row
    }
    if evaluation["cross_validation"]:
        found["stability"] = evaluation["cross_validation"]["stability"]["saying"]
    return {**found, "gate_passed": evaluation["gate"]["passed"], "gate": evaluation["gate"]["reasons"]}


def _say(emit: Emit, phase: str, done: int, total: int) -> None:
    emit(StageProgressed(stage="evaluate", phase=phase, done=done, total=total, unit="steps"))
