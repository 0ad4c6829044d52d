"""A job as JSON, its legal moves, and the key that says whether the work was done already."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

import luthier
from luthier.core.job import KINDS, MOVES, Job, State, job_key, may_move
from luthier.core.plan import STAGES, Plan, Stage
from luthier.core.spec import SECTIONS

STATES: tuple[State, ...] = get_args(State)
READS: dict[Stage, set[str]] = {"prepare": {"data", "prepare"}, "train": {"train"}, "evaluate": {"train", "evaluate"}, "export": {"export"}}
TEXTS: dict[Stage, set[str]] = {stage: {"data", "prepare"} if stage in ("train", "evaluate") else set() for stage in READS}
"""What is read too where unlabelled texts are named."""
FIELDS = [(section, name) for section, form in SECTIONS.items() for name in form.model_fields]


def plan(**changes: Any) -> Plan:
    return Plan(**{"name": "run", "task": "text-classification", "model": "all-minilm-l6-v2"} | changes)


def job(**changes: Any) -> Job:
    return Job(**{"id": "k", "run": "r", "stage": "train", "plan": plan(), "work": "/w", "inputs": {"dataset": "/d"}} | changes)


def other(value: Any, info: Any) -> Any:
    """Another value of the same kind that the field takes."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        top = min(
            [rule.lt for rule in info.metadata if hasattr(rule, "lt")] + [rule.le for rule in info.metadata if hasattr(rule, "le")] + [9e9]
        )
        return value + 1 if value + 1 < top else value / 2 + 0.001
    if isinstance(value, dict):
        costs = info.annotation == dict[str, dict[str, float]]
        return value | {"new": {"a": 1.0} if costs else (0.5 if info.annotation == dict[str, float] else "x")}
    if isinstance(value, list):
        return [*value, 50 if info.annotation == list[int] else "new"]
    choices = get_args(info.annotation)
    return next(c for c in choices if c != value) if choices else f"{value}new"


def test_moves_are_defined_for_every_state_and_lead_to_states() -> None:
    assert set(MOVES) == set(STATES)
    assert set().union(*MOVES.values()) <= set(STATES)


def test_a_job_goes_from_queued_over_running_to_an_end() -> None:
    assert may_move("queued", "running")
    assert all(may_move("running", end) for end in ("succeeded", "failed", "cancelled"))
    assert may_move("running", "queued"), "a lease that ran out"
    assert may_move("failed", "queued"), "a person starts it again"
    assert may_move("cancelled", "queued")
    assert may_move("queued", "cancelled")


@pytest.mark.parametrize("state", STATES)
def test_illegal_moves(state: State) -> None:
    assert not may_move(state, state)
    assert not may_move("succeeded", state), "what succeeded stays so"
    if state != "running":
        assert not may_move(state, "succeeded")
        assert not may_move(state, "failed")
    if state != "queued":
        assert not may_move(state, "running"), "only a queued job is taken"


def test_a_job_comes_back_from_json() -> None:
    sent = job(plan=plan(train={"epochs": 2, "learning_rate": 1e-4}), parents=["dataset-1"], cache="/c")
    back = Job.model_validate_json(sent.model_dump_json())
    assert back == sent
    assert back.plan.train.learning_rate == 1e-4


@pytest.mark.parametrize("changes", [{"stage": "deploy"}, {"colour": "red"}, {"plan": {}}, {"inputs": ["a"]}, {"plan": {"name": "a"}}])
def test_what_is_not_a_job_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        job(**changes)


def test_every_stage_makes_one_kind() -> None:
    assert [job(stage=stage).kind for stage in STAGES] == ["dataset", "model", "evaluation", "export"]
    assert set(KINDS) == set(STAGES)


@pytest.mark.parametrize(("section", "field"), FIELDS)
def test_the_key_changes_exactly_when_a_setting_that_the_stage_reads_does(section: str, field: str) -> None:
    changed = plan()
    part = getattr(changed, section)
    setattr(part, field, other(getattr(part, field), SECTIONS[section].model_fields[field]))
    assert changed != plan()
    for stage in STAGES:
        differs = job_key(stage, changed, ["p"], "v") != job_key(stage, plan(), ["p"], "v")
        assert differs == (section in READS[stage]), stage


@pytest.mark.parametrize("stage", STAGES)
def test_how_unlabelled_texts_are_read_changes_the_key_where_there_are_some(stage: Stage) -> None:
    read = {"unlabelled": ["more.txt"]}
    for section, changed in (("data", {"map": {"text": "body"}}), ("prepare", {"mask": False})):
        differs = job_key(stage, plan(train=read, **{section: changed}), ["p"], "v") != job_key(stage, plan(train=read), ["p"], "v")
        assert differs == (section in READS[stage] | TEXTS[stage])


@pytest.mark.parametrize("stage", STAGES)
def test_names_notes_and_the_place_of_work_do_not_change_the_key(stage: Stage) -> None:
    changed = plan(
        name="x", executor="dummy", ask=["hi"], origins={"train.epochs": "recipe"}, notes=["n"], estimates={"wall_s": 1}, base={"id": "x"}
    )
    assert job_key(stage, changed, ["p"], "v") == job_key(stage, plan(), ["p"], "v")


@pytest.mark.parametrize("stage", STAGES)
def test_task_parents_code_and_stage_change_the_key(stage: Stage) -> None:
    keys = [
        job_key(stage, plan(), ["p"], "v"),
        job_key(stage, plan(task="other"), ["p"], "v"),
        job_key(stage, plan(), ["q"], "v"),
        job_key(stage, plan(), ["p", "q"], "v"),
        job_key(stage, plan(), ["p"], "w"),
        *(job_key(another, plan(), ["p"], "v") for another in STAGES if another != stage),
    ]
    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch(r"[0-9a-f]{16}", key) for key in keys)


@pytest.mark.parametrize("stage", STAGES)
def test_the_base_model_changes_the_key_of_the_stages_that_read_it(stage: Stage) -> None:
    """``prepare`` counts tokens as it does; ``export`` reads only the trained model, which is a parent."""
    differs = job_key(stage, plan(model="other"), ["p"], "v") != job_key(stage, plan(), ["p"], "v")
    assert differs == (stage != "export")


def test_a_value_written_out_is_the_default_it_equals() -> None:
    assert job_key("train", plan(train={"epochs": 4.0}), [], "v") == job_key("train", plan(train={"epochs": 4}), [], "v")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_no_section_that_its_key_leaves_out(stage: Stage) -> None:
    """Else a changed setting would be answered with an old artifact."""
    folder = Path(luthier.__file__).parent / "stages" / stage
    sources = "\n".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    read = set(re.findall(rf"\bplan\.({'|'.join(SECTIONS)})\b(?!\()", sources))
    assert read, "the stage reads its own section at least"
    assert read <= READS[stage] | TEXTS[stage]
