"""Every event goes out as JSON and comes back the same; what is not an event is refused."""

from __future__ import annotations

import json
import re
import time
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import ValidationError

from luthier.core import events
from luthier.core.events import EVENTS, Event, NoteSaid, StageProgressed, StepFinished, read_event


def value(kind: Any) -> Any:
    """Some value of an annotated type that is not the default."""
    plain: dict[Any, Any] = {str: "größe", float: 1.5, int: 3, bool: True, Any: {"a": [1, None, "x"]}}
    origin = get_origin(kind)
    if kind in plain:
        return plain[kind]
    if origin is Literal:
        return get_args(kind)[-1]
    if origin in (Union, UnionType):
        return value(get_args(kind)[0])
    if origin is list:
        return [value(get_args(kind)[0])]
    assert origin is dict, kind
    return {"key": value(get_args(kind)[1])}


def made(cls: type[Event], *, everything: bool) -> Event:
    return cls(**{n: value(f.annotation) for n, f in cls.model_fields.items() if n != "at" and (everything or f.is_required())})


@pytest.mark.parametrize("everything", [True, False])
@pytest.mark.parametrize("name", sorted(EVENTS))
def test_every_event_comes_back_from_json(name: str, everything: bool) -> None:
    event = made(EVENTS[name], everything=everything)
    line = json.dumps(event.as_json(), ensure_ascii=False)
    assert "\n" not in line
    assert json.loads(line)["event"] == name
    back = read_event(json.loads(line))
    assert type(back) is type(event)
    assert back == event


def test_every_class_is_listed_under_a_name_of_its_own() -> None:
    classes = [c for c in vars(events).values() if isinstance(c, type) and issubclass(c, Event) and c is not Event]
    assert len(classes) == len(EVENTS) > 15
    assert set(classes) == set(EVENTS.values())
    for name, cls in EVENTS.items():
        assert re.fullmatch(r"[a-z]+\.[a-z]+", name)
        assert cls.__name__.lower() == name.replace(".", ""), "the class is named as the event"
        assert cls.__doc__


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_a_field_that_no_event_has_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        read_event({**made(EVENTS[name], everything=True).as_json(), "colour": "red"})


def test_reading_leaves_the_line_as_it_is() -> None:
    data = NoteSaid(text="hello").as_json()
    before = dict(data)
    read_event(data)
    assert data == before


@pytest.mark.parametrize("data", [{"event": "no.such", "at": 1.0}, {"at": 1.0}, {}])
def test_an_unknown_name_is_a_key_error(data: dict[str, Any]) -> None:
    with pytest.raises(KeyError):
        read_event(data)


def test_an_event_knows_when_it_happened() -> None:
    before = time.time()
    assert before <= NoteSaid(text="").at <= time.time()
    assert NoteSaid(text="", at=5.0).as_json()["at"] == 5.0


def test_values_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(ValidationError):
        NoteSaid(level="loud", text="x")  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        StageProgressed(stage="train", phase="steps", done="many", total=3)  # type: ignore[arg-type]


def test_figures_are_not_shared_between_events() -> None:
    one, other = (StageProgressed(stage="s", phase="p", done=0, total=1) for _ in range(2))
    one.figures["loss"] = 1.0
    assert other.figures == {}


def test_a_loss_that_is_not_a_number_survives_the_journal() -> None:
    back = read_event(json.loads(json.dumps(StepFinished(step=1, epoch=1, figures={"loss": float("nan")}).as_json())))
    assert isinstance(back, StepFinished)
    assert back.figures["loss"] != back.figures["loss"]
