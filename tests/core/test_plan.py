"""A plan holds every value, refuses what it does not know, and survives JSON."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from luthier.core.plan import STAGES, Plan, Section, Stage
from luthier.core.spec import SECTIONS

FIELDS = [(section, name) for section, form in SECTIONS.items() for name in form.model_fields]
BOUNDS = {"ge": -1, "gt": 0, "le": 1, "lt": 0}
"""What to add to a bound to be just outside it."""


def plan(**changes: Any) -> Plan:
    return Plan(**{"name": "run", "task": "text-classification", "model": "all-minilm-l6-v2"} | changes)


def limits() -> list[tuple[str, str, Any]]:
    """(section, field, a value just outside) for every bound of every field."""
    return [
        (section, name, getattr(rule, bound) + step)
        for section, name in FIELDS
        for rule in SECTIONS[section].model_fields[name].metadata
        for bound, step in BOUNDS.items()
        if getattr(rule, bound, None) is not None
    ]


def test_nothing_is_left_out_of_a_plan() -> None:
    dumped = plan().model_dump(mode="json")
    for section, name in FIELDS:
        assert dumped[section][name] is not None, f"{section}.{name}"


@pytest.mark.parametrize(("section", "field"), FIELDS)
def test_every_setting_says_what_it_is_for(section: str, field: str) -> None:
    assert SECTIONS[section].model_fields[field].description


@pytest.mark.parametrize("section", SECTIONS)
def test_defaults_are_legal_themselves(section: str) -> None:
    form = SECTIONS[section]
    assert form(**form().model_dump()) == form()


@pytest.mark.parametrize(("section", "field", "value"), limits())
def test_a_value_outside_its_bounds_is_refused_and_in_a_recipe_too(section: str, field: str, value: Any) -> None:
    from luthier.core.errors import SpecError
    from luthier.core.spec import make_spec

    with pytest.raises(ValidationError):
        SECTIONS[section](**{field: value})
    part = SECTIONS[section]()
    with pytest.raises(ValidationError):
        setattr(part, field, value)
    with pytest.raises(SpecError, match=rf"^{section}\.{field}: "):
        make_spec({section: {field: value}})


def test_there_are_bounds_to_check() -> None:
    assert len(limits()) > 40


@pytest.mark.parametrize("cls", [*SECTIONS.values(), Plan])
def test_unknown_fields_are_refused(cls: type[Section]) -> None:
    needed = {"name": "a", "task": "b", "model": "c"} if cls is Plan else {}
    with pytest.raises(ValidationError, match="colour"):
        cls(**needed, colour="red")
    with pytest.raises(ValueError, match="colour"):
        cls(**needed).colour = "red"  # type: ignore[attr-defined]


def test_a_plan_comes_back_from_json() -> None:
    made = plan(
        data={"train": ["a.csv"], "map": {"text": "body"}},
        evaluate={"costs": {"a": {"b": 5.0}}, "bars": {"macro_f1": 0.8}},
        origins={"train.epochs": "recipe"},
        estimates={"wall_s": 3.5},
    )
    assert Plan(**json.loads(json.dumps(made.model_dump(mode="json")))) == made


def test_two_plans_share_nothing() -> None:
    one, other = plan(), plan()
    one.train.lora_targets.append("key")
    one.prepare.mask_patterns.clear()
    one.notes.append("note")
    assert other == plan()


def test_the_stages_are_four_and_in_order() -> None:
    assert STAGES == get_args(Stage) == ("prepare", "train", "evaluate", "export")
