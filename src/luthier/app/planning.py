"""From what a person wrote to what will happen: every value filled, with its origin; what cannot work is refused here."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from luthier.app.endpoints import check_name
from luthier.catalog import cards, made
from luthier.core import registry
from luthier.core.errors import InputError, NotPossible, SpecError, UnknownName
from luthier.core.hooks import exported, settings_of
from luthier.core.plan import Plan
from luthier.core.ports import scores_of
from luthier.core.spec import SECTIONS, Spec
from luthier.stages.evaluate.gate import score_meant

MEMORY_SHARE = 0.9
"""Share of the machine's free memory that a plan may ask for."""


def make_plan(spec: Spec, *, inherited: Plan | None = None, check_memory: bool = True) -> Plan:
    """The plan for a spec; where that is silent, ``inherited`` holds (the plan of the artifact that the work starts from).

    ``check_memory=False``: it is not this machine, or not now, that has to have the memory.
    """
    _known("tasks", "task", spec.task)
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    origins: dict[str, str] = {}
    if inherited is not None:
        _lay(values, origins, _sections(inherited), f"plan of {inherited.name}")
    wish = {**values["train"], **spec.train}
    method, effort = str(wish.get("method", "full")), str(wish.get("effort", "standard"))
    _known("methods", "train.method", method)
    decided = registry.get("methods", method).defaults(effort)
    if inherited is None or {"method", "effort"} & spec.train.keys():
        _lay(values, origins, {"train": decided}, f"method {method}, effort {effort}")
        _lay(values, origins, settings_of(registry.get("tasks", spec.task), method, effort), f"task {spec.task}, method {method}")
    _lay(values, origins, {section: getattr(spec, section) for section in SECTIONS}, "recipe")
    plan = Plan(
        name=spec.name or (inherited.name if inherited else "run"),
        task=spec.task,
        model=spec.model,
        executor=spec.executor,
        ask=spec.ask,
        origins=_all_origins(origins),
        **{name: section(**values[name]) for name, section in SECTIONS.items()},  # type: ignore[arg-type]
    )
    if inherited is None:
        _data(plan)
    return _checked(plan, check_memory)


def _sections(plan: Plan) -> dict[str, dict[str, Any]]:
    return {section: getattr(plan, section).model_dump() for section in SECTIONS}


def _lay(values: dict[str, dict[str, Any]], origins: dict[str, str], given: dict[str, dict[str, Any]], origin: str) -> None:
    for section, fields in given.items():
        for name, value in fields.items():
            values[section][name] = value
            origins[f"{section}.{name}"] = origin


def _all_origins(origins: dict[str, str]) -> dict[str, str]:
    paths = [f"{section}.{name}" for section, model in SECTIONS.items() for name in model.model_fields]
    return {path: origins.get(path, "default") for path in paths}


def _known(room: str, path: str, name: str) -> None:
    if name and name not in registry.names(room):
        error = UnknownName.among(registry.ROOMS[room], name, registry.names(room))
        raise SpecError(path, error.message, error.hint)


def _checked(plan: Plan, check_memory: bool) -> Plan:
    _known("executors", "executor", plan.executor)
    _known("formats", "data.format", plan.data.format)
    if plan.deploy.endpoint:
        check_name(plan.deploy.endpoint)
        if not exported(registry.get("tasks", plan.task)):
            raise SpecError("deploy.endpoint", f"a model of {plan.task} is a base to tune and is not served", "leave it out")
    for baseline in plan.evaluate.baselines:
        _known("baselines", "evaluate.baselines", baseline)
    for runtime in plan.export.runtimes:
        _known("runtimes", "export.runtimes", runtime)
    _bars(plan)
    _unlabelled(plan)
    _base(plan, check_memory)
    return plan


def _bars(plan: Plan) -> None:
    """A bar on a score that the task's metrics never give would be missed after the whole training: it is refused now."""
    known = [score for name in registry.get("tasks", plan.task).metrics for score in scores_of(registry.get("metrics", name))]
    for name in plan.evaluate.bars:
        if score_meant(name, known) not in known:
            error = UnknownName.among("score", name, known)
            raise SpecError(f"evaluate.bars.{name}", error.message, error.hint)


def _unlabelled(plan: Plan) -> None:
    """Texts without labels are for encoders, and must be there."""
    if not (plan.train.unlabelled or plan.train.added_tokens):
        return
    field = "train.unlabelled" if plan.train.unlabelled else "train.added_tokens"
    if "encoder" not in registry.get("tasks", plan.task).architectures:
        raise SpecError(field, f"{plan.task} has no encoder that could guess masked tokens", "continue its pretraining: language-modeling")
    _there(plan.train.unlabelled)


def _data(plan: Plan) -> None:
    """Refuses data that is not there before anything runs."""
    _there([*plan.data.train, *plan.data.validation, *plan.data.test])


def _there(names: Sequence[str]) -> None:
    for name in names:
        kind, sign, rest = name.partition(":")
        if sign and kind == "made":
            if rest not in made.NAMES:
                raise UnknownName.among("made data set", rest, made.NAMES)
        elif not Path(name).exists():
            raise InputError(f"{name}: there is no such file or folder", _near(Path(name)))


def _near(path: Path) -> str:
    beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=2, cutoff=0.75)
    if near:
        return "did you mean " + " or ".join(repr(str(path.parent / name)) for name in near) + "?"
    return "give a path, or made:support-messages for invented messages"


def _base(plan: Plan, check_memory: bool) -> None:
    """Fills in the base model's card; refuses one that the task cannot use, that is not here, or that memory cannot hold."""
    card = cards.find(plan.model)
    task = registry.get("tasks", plan.task)
    if card.architecture not in task.architectures:
        fitting = ", ".join(c.id for c in cards.list_cards() if c.architecture in task.architectures)[:200]
        raise SpecError(
            "model", f"{card.id!r} is a {card.architecture} model; {plan.task} needs {' or '.join(task.architectures)}", f"try {fitting}"
        )
    plan.base = card.model_dump(mode="json", exclude_none=True)
    train = plan.train
    tokens, again = train.batch_tokens / train.accumulation, train.gradient_checkpointing
    needed = float(cards.memory_bytes(card, train.method, tokens_per_batch=tokens, recomputed=again))
    plan.estimates["memory_bytes"] = needed
    free = _free_bytes()
    plan.notes.append(f"memory: about {needed / 2**30:.1f} GiB needed by {plan.train.method}, {free / 2**30:.1f} GiB free on this machine")
    if check_memory and needed > MEMORY_SHARE * free:
        raise NotPossible(
            f"{card.id} needs about {needed / 2**30:.1f} GiB to tune by {plan.train.method}; this machine has {free / 2**30:.1f} GiB free",
            "choose train.method=lora or head, train.accumulation, train.gradient_checkpointing, or a smaller model (luthier models)",
        )
    usable, why_not = cards.availability(card, here=check_memory)
    if not usable:
        raise NotPossible(f"{card.id} cannot be used right now: {why_not}", "luthier models shows which can")


def _free_bytes() -> float:
    import psutil

    return float(psutil.virtual_memory().available)
