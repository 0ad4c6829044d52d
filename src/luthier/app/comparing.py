"""Several models in one table: what they score, on rare classes too, what they cost, and whether the rows can tell them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.app.service import Service
from luthier.app.varying import title, varied, ways
from luthier.core import registry
from luthier.core.errors import InputError
from luthier.core.plan import Plan
from luthier.core.spec import Spec, read_spec
from luthier.core.types import Artifact
from luthier.stages.evaluate import compare, predictions
from luthier.stages.evaluate.report import HEADLINES
from luthier.store import files

RECIPES = (".yaml", ".yml")


@dataclass(frozen=True)
class Contender:
    """One that is compared: ``name`` in the table, and its evaluation."""

    name: str
    evaluation: Artifact


def contenders(
    service: Service, names: Sequence[str], *, settings: Sequence[str] = (), vary: Sequence[str] = (), also: Sequence[str] = ()
) -> list[Contender]:
    """What ``luthier compare`` was asked about: recipes (each in every way) are run as far as their evaluation, anything else is a model,
    an evaluation or a run that is there. What is done already is not done again.

    Raises ``InputError`` for fewer than two, and for ways of what is no recipe.
    """
    recipes = [name for name in names if name.endswith(RECIPES)]
    wanted = ways(vary, also)
    if (vary or also) and not recipes:
        raise InputError(f"--vary changes a recipe, and {', '.join(names)} is none", "name a recipe: luthier compare recipe.yaml ...")
    if len(names) - len(recipes) + len(recipes) * len(wanted) < 2:
        raise InputError("there is one model only, so nothing to compare it with", "name another one, or --vary train.method=full,top")
    plans = {name: [_planned(service, read_spec(Path(name)), [*settings, *way]) for way in wanted] for name in recipes}
    found: list[Contender] = []
    for name in names:
        if name not in plans:
            found.append(Contender(name, _judged(service, name)))
            continue
        for plan, way in zip(plans[name], wanted, strict=True):
            start = f"{Path(name).stem}: " if len(recipes) > 1 else ""
            found.append(Contender((start + title(way)) if way else Path(name).stem, evaluated(service, plan)))
    return found


def _planned(service: Service, spec: Spec, settings: Sequence[str]) -> Plan:
    """Contenders are compared with each other: unless the recipe names baselines, none is trained beside each of them."""
    spec = varied(spec, settings) if settings else spec
    spec.evaluate.setdefault("baselines", ["majority"])
    return service.plan(spec)


def evaluated(service: Service, plan: Plan) -> Artifact:
    """A run as far as its evaluation."""
    with service.going(plan) as run:
        return service.evaluate(plan, service.train(plan, service.prepare(plan, run), run), run)


def _judged(service: Service, name: str) -> Artifact:
    """The evaluation of a model, or of the newest model that a run made."""
    for job in service.leases.all(name):
        if job["stage"] == "evaluate" and job["artifact"]:
            return service.artifact(job["artifact"])
    return service.evaluation_of(name)


def table(service: Service, found: Sequence[Contender]) -> dict[str, Any]:
    """``{primary_metric, reference, rows}``: a row a contender with ``scores`` ({value, low, high}), ``train_s``, ``ms_per_row`` (the torch
    module, in batches, one thread), ``response_ms`` (the exported graph, one row, one thread; absent without an export) and ``test``, the
    paired test against the first one (``p_holm``: corrected for how many tests there are).

    Raises ``InputError`` when they are of different tasks.
    """
    said = [service.evaluation(one.evaluation) for one in found]
    tasks = sorted({one["task"] for one in said})
    if len(tasks) > 1:
        raise InputError(f"models of different tasks cannot be compared: {', '.join(tasks)}", "compare models of one task")
    tests = _tests(service, found, said)
    rows = []
    for one, facts, test in zip(found, said, [{}, *tests], strict=True):
        rows.append({"name": one.name, **_figures(service, one.evaluation, facts), **({"test": test} if test else {})})
    return {"task": tasks[0], "primary_metric": said[0]["primary_metric"], "reference": found[0].name, "rows": rows}


def _figures(service: Service, evaluation: Artifact, facts: dict[str, Any]) -> dict[str, Any]:
    shown = [name for name in dict.fromkeys([facts["primary_metric"], *HEADLINES]) if name in facts["scores"] and name != "cost"]
    scores = {name: {key: facts["scores"][name][key] for key in ("value", "low", "high") if key in facts["scores"][name]} for name in shown}
    own = facts["comparison"][-1] if facts.get("comparison") else {}
    model = next((one.id for one in service.workspace.artifacts.lineage(evaluation.id) if one.kind == "model"), "")
    said = {
        "evaluation": evaluation.id,
        "model": model,
        "method": facts.get("method", ""),
        "scores": scores,
        "train_s": float(facts.get("training", {}).get("seconds", 0.0)),
        "ms_per_row": own.get("predict_ms_per_row"),
        "response_ms": _response_ms(service, model),
    }
    return {key: value for key, value in said.items() if value is not None}


def _response_ms(service: Service, model: str) -> float | None:
    """Median milliseconds of the newest exported graph for one row, on one thread."""
    exports = [one for one in service.workspace.artifacts.all("export") if model in one.parents]
    if not exports:
        return None
    facts = files.read_json(Path(exports[-1].path) / "export.json")
    times = [one["p50_ms"] for one in facts["latency"].get(facts["runtime"], []) if one["batch"] == 1 and one["threads"] == 1]
    return float(times[0]) if times else None


def _tests(service: Service, found: Sequence[Contender], said: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each but the first against the first, on the test rows that both answered."""
    task = registry.get("tasks", said[0]["task"])
    plan = Plan(**said[0]["plan"]).evaluate
    answers = [_answers(service, one.evaluation) for one in found]
    tests = [
        compare.paired(task, ours, answers[0], resamples_wanted=plan.bootstrap, seed=plan.seed, names=(one.name, found[0].name))
        for one, ours in zip(found[1:], answers[1:], strict=True)
    ]
    for test, corrected in zip(tests, holm([test.get("p_mid", 1.0) for test in tests]), strict=True):
        test["p_holm"] = corrected
    return tests


def _answers(service: Service, evaluation: Artifact) -> Any:
    model = next(one for one in service.workspace.artifacts.lineage(evaluation.id) if one.kind == "model")
    return predictions.read(Path(evaluation.path) / predictions.NAME, files.read_json(Path(model.path) / "schema.json"))


def holm(chances: Sequence[float]) -> list[float]:
    """p values corrected for their number, in the given order (Holm 1979)."""
    found, largest = [0.0] * len(chances), 0.0
    for rank, at in enumerate(sorted(range(len(chances)), key=lambda one: chances[one])):
        largest = max(largest, min(1.0, chances[at] * (len(chances) - rank)))
        found[at] = largest
    return found
