"""Searches the settings of a recipe: each trial is a run as far as its model, judged on validation rows only; what is bad is ended early.

Trials are chosen by Optuna's TPE (Bergstra et al. 2011) and ended by the median rule (Golovin et al. 2017); both are kept in a database of
their own (``search_study``). A killed search goes on with the trial that it was at, from that one's checkpoint.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.app.search_study import Study
from luthier.app.service import Service
from luthier.app.varying import varied
from luthier.catalog import cards
from luthier.core import registry
from luthier.core.errors import Conflict, InputError, LuthierError, NoSpace, NotPossible, SpecError, Stopped
from luthier.core.events import Event, StepFinished
from luthier.core.job import Job
from luthier.core.plan import Plan
from luthier.core.search import Axis, read_axis
from luthier.core.spec import Spec, make_spec, override
from luthier.core.types import Artifact
from luthier.store import datasets, files
from luthier.store.locks import locked

SECTION = "train."
FIRST_FAILURES = 3
"""So many trials that fail with none before them that did not: it is the recipe that is wrong."""


@dataclass(frozen=True)
class Asked:
    """What is searched: the recipe, its axes, how many trials in all, the seed of what is tried, and a name under which to go on."""

    spec: Spec
    axes: tuple[Axis, ...]
    trials: int = 20
    seed: int = 29
    name: str = ""

    @property
    def title(self) -> str:
        """The name of the search: the recipe's own where none is given."""
        return self.name or self.spec.name or "search"


def space(service: Service, spec: Spec, written: Sequence[str]) -> tuple[Axis, ...]:
    """The axes that were written, or those that the method names; raises ``InputError`` or ``SpecError`` for what no trial could be."""
    plan = service.plan(spec)
    method = registry.get("methods", plan.train.method)
    found = tuple(read_axis(one) for one in written or [f"{field}={said}" for field, said in getattr(method, "search", {}).items()])
    if not found:
        raise InputError(f"method {plan.train.method} names nothing to search", "write --search train.learning_rate=log:1e-5:1e-3")
    for axis in found:
        if not axis.field.startswith(SECTION):
            raise SpecError(axis.field, "is not searched: a search tries settings of train on one dataset", "write train.learning_rate=...")
        for value in axis.edges():
            made = _spec(spec, [axis.setting(value)])
            if axis.field != f"{SECTION}effort":
                service.plan(made)
    return found


def _spec(spec: Spec, settings: Sequence[str]) -> Spec:
    return make_spec(override(spec.model_dump(exclude_unset=True), list(settings)))


def search(service: Service, asked: Asked, tell: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Makes the trials that are missing, and returns what ``search.json`` says; ``best.yaml`` and ``search.svg`` stand beside it.

    Raises ``Conflict`` when another process is at it or the name is another search's, ``NotPossible`` when every trial fails.
    """
    folder = service.workspace.home / "searches" / asked.title
    with locked(folder / "lock", what=f"the search {asked.title!r}"):
        plan = service.plan(asked.spec)
        study = Study(service.workspace, asked, plan)
        while study.finished < asked.trials:
            number, settings = study.next()
            tell(f"trial {number + 1} of {asked.trials}: {', '.join(settings)}")
            said = _try(service, asked, study, number, settings)
            tell(f"trial {number + 1}: {said}")
            _give_up(study)
            _write(folder, asked, study)
        return _write(folder, asked, study)


def _give_up(study: Study) -> None:
    states = [one["state"] for one in study.table()]
    if len(states) >= FIRST_FAILURES and set(states) == {"failed"}:
        raise NotPossible(f"every trial failed, the last one so: {study.table()[-1]['error']}", "luthier run the recipe once, and mend it")


def _try(service: Service, asked: Asked, study: Study, number: int, settings: Sequence[str]) -> str:
    """One trial, to its end: its value, that it was ended early, or why it failed."""
    spec = varied(asked.spec, settings)
    own = Service(service.workspace.root, service.sinks, service.workspace.name)
    own.card = service.card
    watch = _Watch(own, study, number)
    own.sinks = [*service.sinks, watch]
    try:
        plan = own.plan(spec.model_copy(update={"name": f"{asked.title}-trial-{number + 1}"}))
        with own.going(plan) as run:
            dataset = own.prepare(plan, run)
            _has_validation(dataset)
            model = own.train(plan, dataset, run)
    except Stopped:
        if not watch.bad:
            raise
        _forget(own, run)
        return study.pruned(number)
    except (Conflict, NoSpace, InputError):
        raise
    except LuthierError as error:
        return study.failed(number, error.message)
    training = files.read_json(Path(model.path) / "training.json")
    return study.succeeded(number, training, model.id, run)


def _has_validation(dataset: Artifact) -> None:
    if not datasets.count_splits(Path(dataset.path)).get("validation"):
        raise InputError(
            "a search is judged on validation rows, and there are none", "set prepare.validation_share above 0, or give data.validation"
        )


def _forget(service: Service, run: str) -> None:
    """What a trial that was ended early left to go on from: nobody will."""
    for job in service.leases.all(run):
        if job["stage"] == "train" and job["state"] == "queued":
            with service.leases.held(job["id"], run, "train") as token:
                service.leases.move(job["id"], token, "cancelled")
            shutil.rmtree(service.workspace.work / f"train-{job['id']}", ignore_errors=True)


class _Watch:
    """Hears the epochs of a trial, and ends it when it is worse than the others were at that point."""

    def __init__(self, service: Service, study: Study, number: int) -> None:
        self.service, self.study, self.number = service, study, number
        self.bad = False

    def __call__(self, event: Event) -> None:
        if not isinstance(event, StepFinished) or self.bad:
            return
        value = event.figures.get(self.study.metric)
        if value is not None and self.study.is_bad(self.number, round(event.epoch), value if event.higher_is_better else -value):
            self.bad = True
            # This thread reads what the training says, and must not wait for its end.
            threading.Thread(target=self.service.stop, daemon=True).start()


def _write(folder: Path, asked: Asked, study: Study) -> dict[str, Any]:
    """The table, the picture and the best recipe, as far as the search is."""
    from luthier.app.search_picture import picture

    trials = study.table()
    best = study.best()
    said = {
        "name": asked.title,
        "metric": study.metric,
        "judged_on": "validation",
        "seed": asked.seed,
        "axes": {axis.field: axis.as_text() for axis in asked.axes},
        "trials": trials,
        "best": best,
        "folder": str(folder),
    }
    files.write_json(folder / "search.json", said)
    files.write_text(folder / "search.svg", picture(asked.axes, trials, study.metric, asked.title))
    if best:
        files.write_text(folder / "best.yaml", best_recipe(asked.spec, best["settings"]))
    return said


def best_recipe(spec: Spec, settings: Sequence[str]) -> str:
    """The recipe with the settings of a trial in it, as YAML; files by their whole path, since it may be moved."""
    import yaml

    written = override(spec.model_dump(exclude_unset=True), list(settings))
    for section, field in (("data", "train"), ("data", "validation"), ("data", "test"), ("train", "unlabelled")):
        names = written.get(section, {}).get(field, [])
        if names:
            written[section][field] = [str(Path(name).resolve()) if Path(name).exists() else name for name in names]
    return str(yaml.safe_dump(make_spec(written).model_dump(exclude_unset=True), sort_keys=False, allow_unicode=True))


def cost(service: Service, asked: Asked) -> dict[str, Any]:
    """What the search would take at the most, measured on this machine by a few batches: nothing is trained, only the dataset is prepared.

    ``{trials, trial_s: [least, most], most_s}``: the trial at both ends of ``train.epochs`` where that is searched.
    """
    from luthier.stages.train.stage import expected

    plan = service.plan(asked.spec)
    dataset = service.prepare(plan)
    _has_validation(dataset)
    epochs = next((axis.edges() for axis in asked.axes if axis.field == "train.epochs" and axis.kind != "choice"), (plan.train.epochs,))
    seconds = []
    for one in epochs:
        ready: Plan = service.plan(_spec(asked.spec, [f"train.epochs={one}"]))
        with tempfile.TemporaryDirectory(dir=service.workspace.work) as work:
            base = str(cards.locate(cards.find(ready.model)))
            inputs = {"base": base, "dataset": dataset.path}
            job = Job(id="cost", run="cost", stage="train", plan=ready, work=work, cache=str(service.workspace.cache), inputs=inputs)
            seconds.append(expected(job).wall_s)
    return {
        "trials": asked.trials,
        "trial_s": [round(min(seconds), 1), round(max(seconds), 1)],
        "most_s": round(asked.trials * max(seconds), 1),
        "axes": {axis.field: axis.as_text() for axis in asked.axes},
    }
