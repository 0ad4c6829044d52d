"""One piece of an evaluation in a process of one thread: ``python -m luthier.stages.evaluate.part JOB.json PART``.

PART is ``features``, ``fold-0,2,4`` or ``baseline-majority,tfidf-logistic``. Each result is a folder that appears whole, so a second try
does only what is missing. The process ends when its parent does (standard input closes). Lines on standard output are shares done.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from luthier.core import registry
from luthier.core.errors import Damaged
from luthier.core.events import Event, StageProgressed
from luthier.core.hooks import settings_of
from luthier.core.job import Job
from luthier.core.plan import TrainPlan
from luthier.core.ports import BaselineContext, BaselineResult, Task
from luthier.core.types import Arrays, Example, Item
from luthier.core.writing import writes
from luthier.stages.evaluate import crossvalidate
from luthier.stages.evaluate.subject import Subject, read
from luthier.stages.parent import end_with_parent
from luthier.store import files

FOLDER = "parts"


def result_folder(work: Path, name: str) -> Path:
    """Where a finished part's result lies."""
    return work / FOLDER / name


def write_result(folder: Path, arrays: Arrays, facts: dict[str, Any]) -> None:
    """Keeps arrays and facts, whole or not at all."""
    import shutil

    from safetensors.numpy import save_file

    shutil.rmtree(folder, ignore_errors=True)
    with files.folder_aside(folder) as aside:
        save_file({name: _plain(value) for name, value in arrays.items()}, aside / "outputs.safetensors")
        files.write_json(aside / "facts.json", facts)


def _plain(value: Any) -> Any:
    import numpy as np

    return np.ascontiguousarray(value)


def read_result(folder: Path) -> tuple[Arrays, dict[str, Any]]:
    """What ``write_result`` kept; raises ``Damaged``."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(folder / "outputs.safetensors"), files.read_json(folder / "facts.json")
    except (SafetensorError, OSError) as error:
        raise Damaged(f"{folder}: not a whole result: {error}", "start the same command again") from None


# -- what a part does ----------------------------------------------------------------------------------------------------------------


def features(subject: Subject, tell: Callable[[float], None]) -> None:
    """The frozen lower layers' output for training and validation rows, once for all folds."""
    from luthier.stages.train.features import FeatureCache

    model, cut = _bare_model(subject)
    items = subject.items([*subject.train, *subject.validation], targets=True)
    start = time.perf_counter()
    folder = subject.work / FOLDER / "features-cache"
    cache = FeatureCache.build(
        subject.task, model, items, cut, folder, int8=_int8(subject), progress=lambda done, total: tell(done / total)
    )
    write_result(
        result_folder(subject.work, "features"),
        {"starts": cache.starts},
        {"seconds": time.perf_counter() - start, "pooled": cache.pooled, "int8": cache.int8},
    )


def _bare_model(subject: Subject) -> tuple[Any, int]:
    model = subject.task.load(subject.start, subject.schema, dropout=subject.plan.dropout, seed=subject.plan.seed)
    return model, registry.get("methods", subject.plan.method).cut(subject.plan, model.depth)


def _int8(subject: Subject) -> bool:
    return bool(subject.training.get("int8_features", False))


def _with_features(subject: Subject, items: list[Item]) -> list[Item]:
    """Items with their cached part, when the method caches."""
    import numpy as np

    from luthier.stages.train.features import FeatureCache

    folders = sorted((subject.work / FOLDER / "features-cache").glob("features-*/manifest.json"))
    if not folders:
        return items
    place, facts = folders[0].parent, read_result(result_folder(subject.work, "features"))[1]
    values = np.load(place / "values.npy", mmap_mode="r")
    return FeatureCache(values, np.load(place / "starts.npy"), facts["pooled"], facts["int8"], False).attach(items)


def fold(subject: Subject, number: int, one: crossvalidate.Fold, items: Sequence[Item], tell: Callable[[float], None]) -> None:
    """Trains one fold and keeps its answers on the rows it has not seen (uncalibrated)."""
    from luthier.stages.train.fit import fit

    examples = [*subject.train, *subject.validation]
    request = _request(
        subject, subject.plan, [items[row] for row in one.learn], [items[row] for row in one.inner], [examples[r] for r in one.inner]
    )
    result = fit(request, _telling(tell))
    held = [{name: value for name, value in items[row].items() if name != "labels"} for row in one.held]
    outputs = subject.answers(result.model, held, cut=result.cut if _cached(held) else 0, share=subject.job.plan.evaluate.folds)
    write_result(
        result_folder(subject.work, f"fold-{number}"),
        {**judged_by(outputs), "rows": one.held},
        {"seconds": result.seconds, "steps": result.steps, "best_step": result.best_step},
    )


def judged_by(outputs: Arrays) -> Arrays:
    """What answers are decoded from: all but the vectors."""
    return {name: value for name, value in outputs.items() if name != "embedding"}


def _cached(items: Sequence[Item]) -> bool:
    from luthier.stages.inference import HIDDEN

    return bool(items) and HIDDEN in items[0]


def all_folds(subject: Subject) -> list[crossvalidate.Fold]:
    """The folds over training and validation rows; the inner part is as large as the validation split is."""
    known = [*subject.train, *subject.validation]
    plan = subject.job.plan.evaluate
    return crossvalidate.folds(subject.task, known, plan.folds, len(subject.validation) / len(known), plan.seed)


def baseline(subject: Subject, name: str, tell: Callable[[float], None]) -> None:
    """Runs one baseline and keeps its answers on the test rows."""
    work = subject.work / FOLDER / f"work-{name}"
    work.mkdir(parents=True, exist_ok=True)
    context = BaselineContext(
        task=subject.task,
        schema=subject.schema,
        base=subject.base,
        plan=subject.plan,
        evaluate=subject.job.plan.evaluate,
        fit=_fitter(subject, tell),
        work=work,
        steps=int(subject.training.get("steps", 0)),
        model=subject.model,
        answers=lambda model, test: subject.answers(model, subject.items(_to_judge(subject, test), targets=False)),
    )
    test = [Example(one.id, one.inputs, None, one.group, one.source, one.columns) for one in subject.test]
    result: BaselineResult = registry.get("baselines", name).run([*subject.train, *subject.validation], test, context)
    facts = {"train_s": result.train_s, "predict_s": result.predict_s, "train_flop": result.train_flop}
    write_result(result_folder(subject.work, f"baseline-{name}"), judged_by(result.outputs), facts)


def _fitter(subject: Subject, tell: Callable[[float], None]) -> Callable[..., BaselineResult]:
    """``fit(train, test, pretrained=, max_steps=)`` for a baseline: every weight learns; validation rows choose the best checkpoint."""

    def run(train: Sequence[Example], test: Sequence[Example], *, pretrained: bool, max_steps: int) -> BaselineResult:
        from luthier.stages.train.fit import fit

        held = {example.id for example in subject.validation}
        learn = [example for example in train if example.id not in held]
        plan = every_weight(subject.task, subject.plan, max_steps)
        items = subject.items(learn, targets=True)
        request = _request(subject, plan, items, subject.items(subject.validation, targets=True), subject.validation)
        flop_per_token = _flop_per_token(subject, plan, items)
        result = fit(replace(request, pretrained=pretrained, max_steps=max_steps, flop_per_token=flop_per_token), _telling(tell))
        start = time.perf_counter()
        outputs = subject.answers(result.model, subject.items(_to_judge(subject, test), targets=False))
        return BaselineResult(outputs, result.seconds, time.perf_counter() - start, result.flop)

    return run


def _to_judge(subject: Subject, test: Sequence[Example]) -> Sequence[Example]:
    """The test rows as they are judged: those of a task that writes with their targets, which a baseline is not given."""
    same = [one.id for one in test] == [one.id for one in subject.test]
    return subject.test if writes(subject.task) and same else test


def every_weight(task: Task, plan: TrainPlan, steps: int) -> TrainPlan:
    """The plan with method ``full`` at its own rates, never stopping early, long enough for ``steps`` steps."""
    if plan.method != "full":
        known = set(type(plan).model_fields)
        asked = registry.get("methods", "full").defaults(plan.effort) | settings_of(task, "full", plan.effort).get("train", {})
        defaults = {key: value for key, value in asked.items() if key in known}
        plan = plan.model_copy(update={"method": "full", **defaults})
    return plan.model_copy(update={"patience": 0} | ({"epochs": float(max(steps, 1))} if steps else {}))


def _flop_per_token(subject: Subject, plan: TrainPlan, items: Sequence[Item]) -> float:
    mean = sum(subject.task.length(item) for item in items) / max(len(items), 1)
    card = files.read_json(subject.start / "config.json") | {"tokens": mean}
    return float(registry.get("methods", plan.method).footprint(card, plan, plan.batch_tokens).flop_per_token)


def _request(subject: Subject, plan: TrainPlan, train: Sequence[Item], validation: Sequence[Item], judged: Sequence[Example]) -> Any:
    from luthier.stages.train.request import FitRequest

    return FitRequest(
        task=subject.task,
        base=subject.start,
        schema=subject.schema,
        plan=plan,
        train=train,
        validation=validation,
        judged=judged,
        seed=plan.seed,
        int8=_int8(subject),
        precision=str(subject.training.get("precision", "fp32")),
        device=str(subject.training.get("device", "cpu")),
    )


def _telling(tell: Callable[[float], None]) -> Callable[[Event], None]:
    def emit(event: Event) -> None:
        if isinstance(event, StageProgressed) and event.phase == "train" and event.total:
            tell(event.done / event.total)

    return emit


# -- the process ---------------------------------------------------------------------------------------------------------------------


def main(job_file: str, name: str) -> int:
    """Does the part; exit code 0, or 1 with ``{name}.error.json`` beside the results."""
    end_with_parent()  # before anything slow is imported
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    from luthier.stages.__main__ import describe

    try:
        job = Job.model_validate_json(Path(job_file).read_text(encoding="utf-8"))
        _do(read(job), name, lambda share: print(f"{share:.4f}", file=lines, flush=True))
    except Exception as error:  # noqa: BLE001 - whatever went wrong must reach the stage as JSON
        files.write_json(Path(job_file).parent / f"{name}.error.json", describe(error))
        return 1
    return 0


def _do(subject: Subject, name: str, tell: Callable[[float], None]) -> None:
    """One thing after the other, leaving out what is finished: starting a process costs more than a small fold."""
    kind, _, rest = name.partition("-")
    if kind == "features":
        return features(subject, tell)
    wanted = rest.split(",")
    works = _folds_by_name(subject) if kind == "fold" else {one: partial(baseline, subject, one) for one in wanted}
    for number, one in enumerate(wanted):
        if not (result_folder(subject.work, f"{kind}-{one}") / "facts.json").exists():
            works[one](partial(_tell_part, tell, number, len(wanted)))
        tell((number + 1) / len(wanted))
    return None


def _folds_by_name(subject: Subject) -> dict[str, Callable[[Callable[[float], None]], None]]:
    items = _with_features(subject, subject.items([*subject.train, *subject.validation], targets=True))
    return {str(number): partial(fold, subject, number, one, items) for number, one in enumerate(all_folds(subject))}


def _tell_part(tell: Callable[[float], None], done: int, count: int, share: float) -> None:
    tell((done + share) / count)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
