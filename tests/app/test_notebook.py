"""The path in a notebook: what may be given to it, and an endpoint that stays open between questions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.app.endpoints import EndpointInfo
from luthier.app.notebook import Endpoint
from luthier.app.service import Service
from luthier.core.errors import InputError, SpecError
from luthier.core.plan import Plan
from luthier.core.types import Artifact
from luthier.stages.serve import engine


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """What ``prepare`` was asked to do; nothing is done."""
    asked: list[Plan] = []

    def prepare(_service: Service, plan: Plan, run: str = "") -> Artifact:
        asked.append(plan)
        return Artifact("dataset-1", "dataset", "nowhere")

    monkeypatch.setattr(Service, "prepare", prepare)
    return asked


def test_files_are_names_or_paths_one_or_several(plans: list[Plan], messages: Path, tmp_path: Path) -> None:
    home, name = tmp_path / "home", str(messages)
    for data in (name, messages, [name], [messages], (messages,)):
        luthier.prepare(data, home=home)
    luthier.prepare([messages, name], test=messages, home=home)
    assert [plan.data.train for plan in plans] == [[name]] * 5 + [[name, name]]
    assert plans[-1].data.test == [name]


@pytest.mark.parametrize("data", [3, [3], {"a": 1}, None])
def test_what_is_no_file_is_refused(plans: list[Plan], tmp_path: Path, data: Any) -> None:
    with pytest.raises(SpecError, match=r"data\.train"):
        luthier.prepare(data, home=tmp_path / "home")
    assert plans == []


def test_a_file_that_is_not_there_is_named(plans: list[Plan], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothere\.csv"):
        luthier.prepare(tmp_path / "nothere.csv", home=tmp_path / "home")


def test_a_seed_changes_the_split_and_made_data(plans: list[Plan], messages: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    luthier.prepare(messages, seed=3, home=home)
    luthier.prepare("made:support-messages", seed=3, home=home)
    luthier.prepare(messages, test="made:support-messages", seed=3, home=home)
    luthier.prepare(messages, rows=20, mask=False, home=home)
    default = Plan(name="x", task="x", model="x")
    assert [plan.prepare.seed for plan in plans] == [3, 3, 3, default.prepare.seed]
    assert [plan.data.seed for plan in plans] == [default.data.seed, 3, 3, default.data.seed]
    assert (plans[-1].data.rows, plans[-1].prepare.mask) == (20, False)


def test_an_unknown_keyword_is_refused_with_the_nearest(plans: list[Plan], messages: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        luthier.prepare(messages, maks=False, home=tmp_path / "home")
    assert caught.value.hint == "did you mean 'mask'?"


def test_an_endpoint_is_opened_once_and_closed_when_told(service: Service, export_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[engine.Endpoint] = []
    open_one = engine.Endpoint.open

    def counted(folder: Path, **options: Any) -> engine.Endpoint:
        opened.append(open_one(folder, **options))
        return opened[-1]

    monkeypatch.setattr(engine.Endpoint, "open", counted)
    info = EndpointInfo("support", "text-classification", "export-1", "evaluation-1", "model-1", export_folder, 0.0)
    with Endpoint(service, info) as endpoint:
        assert opened == [], "nothing is opened before the first question"
        one = endpoint.predict("write to ann@example.com about my refund")
        assert endpoint.predict("write to <EMAIL_1> about my refund") == one
        other = endpoint.predict("where is my parcel")
        assert endpoint.predict(["where is my parcel", "hello"])[0]["id"] == other["id"] != one["id"]
        assert len(opened) == 1
    with pytest.raises(engine.Closed):
        opened[0].predict_now(endpoint_examples(info))
    assert endpoint.predict("where is my parcel") == other, "a closed one opens again"
    assert len(opened) == 2
    endpoint.close()
    endpoint.close()


def endpoint_examples(info: EndpointInfo) -> Any:
    from luthier.core import registry

    return registry.get("tasks", info.task).request({"text": "hello"})
