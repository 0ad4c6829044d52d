"""The use cases: deployment behind its gate, lineage, feedback, and what is written into the journal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from luthier.app.service import Service
from luthier.core.errors import Damaged, GateRefused, InputError, SpecError, UnknownName
from luthier.core.events import Event, StageProgressed
from luthier.core.plan import Plan
from luthier.core.types import Artifact
from luthier.store import files


@pytest.fixture
def chain(stored: Callable[..., Artifact], planned: Callable[..., Plan]) -> Callable[..., Any]:
    """Dataset, model, evaluation and export of a model with the given accuracy, under a bar of 0.9."""

    def make(accuracy: float, name: str = "try") -> Any:
        plan = planned(name=name, evaluate={"bars": {"accuracy": 0.9}, "max_drop": 0.01})
        dataset = stored("dataset", plan=plan, rows=10)
        model = stored("model", dataset, plan=plan, name=name, weights=accuracy)
        scores = {"accuracy": {"value": accuracy, "higher_is_better": True}}
        evaluation = stored(
            "evaluation", dataset, model, plan=plan, name=name, primary_metric="accuracy", scores=scores, test_rows_id="the same"
        )
        export = stored("export", dataset, model, evaluation, plan=plan, name=name, graph=accuracy)
        return SimpleNamespace(dataset=dataset, model=model, evaluation=evaluation, export=export)

    return make


def _journal(service: Service, name: str) -> list[dict[str, Any]]:
    return [entry.body for entry in service.journal.all(names=(name,))]


@pytest.mark.parametrize("force", [False, True])
def test_without_an_evaluation_nothing_is_deployed(service: Service, stored: Callable[..., Artifact], force: bool) -> None:
    dataset = stored("dataset")
    model = stored("model", dataset)
    export = stored("export", dataset, model)
    with pytest.raises(GateRefused, match="has no evaluation"):
        service.deploy(export, "support", force=force)
    assert service.endpoints.list() == []


def test_what_is_missing_on_the_way_is_said_with_the_command_that_makes_it(
    service: Service, stored: Callable[..., Artifact], planned: Callable[..., Plan]
) -> None:
    model = stored("model", stored("dataset"))
    with pytest.raises(GateRefused, match=f"{model.id} has no evaluation") as caught:
        service.export_of(model.id)
    assert caught.value.hint == f"luthier evaluate {model.id}"
    evaluation = stored("evaluation", model, plan=planned())
    with pytest.raises(GateRefused, match="has no export") as caught:
        service.export_of("try")
    assert caught.value.hint == f"luthier export {evaluation.id}"


def test_a_missed_bar_refuses_with_the_figure(service: Service, chain: Callable[..., Any]) -> None:
    with pytest.raises(GateRefused, match=r"not deployed to 'support': accuracy 0\.850 < 0\.900 missed") as caught:
        service.deploy(chain(0.85).export, "support")
    assert "evaluate.bars" in caught.value.hint
    assert service.endpoints.list() == []
    (decided,) = _journal(service, "gate.decided")
    assert (decided["gate"], decided["passed"]) == ("deploy support", False)
    assert _journal(service, "endpoint.deployed") == []


def test_force_overrules_a_missed_bar_and_is_journaled(service: Service, chain: Callable[..., Any]) -> None:
    made = chain(0.85)
    info = service.deploy(made.export, "support", force=True)
    assert (info.export_id, info.model_id, info.evaluation_id) == (made.export.id, made.model.id, made.evaluation.id)
    (deployed,) = _journal(service, "endpoint.deployed")
    assert deployed["forced"] is True
    assert _journal(service, "gate.decided")[0]["passed"] is False


def test_a_passed_bar_deploys_without_force(service: Service, chain: Callable[..., Any]) -> None:
    made = chain(0.95)
    service.deploy(made.export, "support", force=True)
    assert _journal(service, "endpoint.deployed")[0]["forced"] is False
    assert service.endpoints.get("support").folder == Path(made.export.path)


def test_a_worse_model_does_not_take_the_place_of_the_deployed_one(service: Service, chain: Callable[..., Any]) -> None:
    first, worse, little_worse = chain(0.99), chain(0.93, "worse"), chain(0.985, "little")
    service.deploy(first.export, "support")
    with pytest.raises(GateRefused, match=r"accuracy 0\.930 against 0\.990 deployed: 0\.060 lost, 0\.010 allowed"):
        service.deploy(worse.export, "support")
    assert service.endpoints.get("support").model_id == first.model.id
    service.deploy(worse.export, "elsewhere")
    service.deploy(little_worse.export, "support")
    assert service.endpoints.get("support").model_id == little_worse.model.id


def test_a_damaged_export_is_not_deployed(service: Service, chain: Callable[..., Any]) -> None:
    export = chain(0.95).export
    (Path(export.path) / "export.json").write_text("{}")
    with pytest.raises(Damaged, match=r"export\.json"):
        service.deploy(export, "support", force=True)
    assert service.endpoints.list() == []


@pytest.mark.parametrize("name", ["a/b", "", "../x", "-a", "a" * 41])
def test_an_endpoint_has_a_plain_name(service: Service, chain: Callable[..., Any], name: str) -> None:
    with pytest.raises(InputError, match="cannot name an endpoint"):
        service.deploy(chain(0.95).export, name)
    assert service.endpoints.list() == []


def test_an_export_knows_everything_that_it_came_from(service: Service, chain: Callable[..., Any]) -> None:
    made = chain(0.95)
    assert {artifact.id for artifact in service.workspace.artifacts.lineage(made.export.id)} == {
        made.dataset.id,
        made.model.id,
        made.evaluation.id,
        made.export.id,
    }
    for name in (made.model.id, made.evaluation.id, "try"):
        assert service.evaluation_of(name) == made.evaluation
    assert service.export_of(made.model.id) == service.export_of(made.export.id) == made.export
    assert service.evaluation(made.evaluation)["scores"]["accuracy"]["value"] == 0.95


def test_a_name_means_the_newest(service: Service, chain: Callable[..., Any]) -> None:
    chain(0.91)
    newest = chain(0.92)
    assert service.artifact("try", "model") == newest.model
    assert service.export_of("try") == newest.export
    with pytest.raises(UnknownName) as caught:
        service.artifact("tri", "model")
    assert "'try'" in caught.value.hint


def test_feedback_is_journaled_for_its_endpoint(service: Service, chain: Callable[..., Any]) -> None:
    service.deploy(chain(0.95).export, "support")
    service.feedback("support", "abc", thumbs="down", right="refund", comment="ann@example.com says no")
    (entry,) = service.journal.all(about="support", names=("feedback.given",))
    assert {key: entry.body[key] for key in ("id", "thumbs", "right", "comment")} == {
        "id": "abc",
        "thumbs": "down",
        "right": "refund",
        "comment": "<EMAIL_1> says no",
    }
    with pytest.raises(UnknownName) as caught:
        service.feedback("suport", "abc", thumbs="up")
    assert caught.value.hint == "did you mean 'support'?"
    assert len(_journal(service, "feedback.given")) == 1


def test_a_judgement_names_a_label_of_the_endpoint(service: Service, chain: Callable[..., Any]) -> None:
    info = service.deploy(chain(0.95).export, "support")
    files.write_json(info.folder / "schema.json", {"labels": ["refund", "parcel"], "multi_label": False})
    with pytest.raises(InputError, match="'parcels' is not a label") as caught:
        service.feedback("support", "abc", right="parcels")
    assert caught.value.hint == "did you mean 'parcel'?"
    assert _journal(service, "feedback.given") == []


def test_an_endpoint_can_be_taken_away(service: Service, chain: Callable[..., Any]) -> None:
    service.deploy(chain(0.95).export, "support")
    service.undeploy("support")
    assert service.endpoints.list() == []
    assert [body["endpoint"] for body in _journal(service, "endpoint.removed")] == ["support"]
    with pytest.raises(UnknownName):
        service.undeploy("support")


def test_progress_goes_to_the_sinks_whole_and_to_the_journal_once_a_second(service: Service, events: list[Event]) -> None:
    for tick in range(30):
        service.emit(StageProgressed(stage="train", phase="train", done=tick, total=30, at=1000 + tick / 10))
    assert len(events) == 30
    assert [entry.at for entry in service.journal.all()] == [1000.0, 1001.0, 1002.0]


def test_the_catalog_says_what_can_be_used(service: Service) -> None:
    rows = {row["id"]: row for row in service.model_table()}
    assert rows["all-minilm-l6-v2"]["usable"]
    assert rows["all-minilm-l6-v2"]["why_not"] == ""
    assert all(row["usable"] or row["why_not"] for row in rows.values())


def test_a_thumb_is_up_or_down(service: Service, chain: Callable[..., Any]) -> None:
    service.deploy(chain(0.95).export, "support")
    with pytest.raises(InputError, match="'sideways'"):
        service.feedback("support", "x", thumbs="sideways")


def test_costs_that_evaluate_could_not_use_are_refused_before_the_training(service: Service, planned: Callable[..., Plan]) -> None:
    folder = service.workspace.work / "prepared"
    files.write_json(folder / "schema.json", {"labels": ["parcel", "refund"], "multi_label": False})
    dataset = service.workspace.artifacts.add(folder, "dataset")
    with pytest.raises(SpecError, match=r"evaluate\.costs: unknown label 'refnud'") as caught:
        service.train(planned(evaluate={"costs": {"refnud": {"parcel": 5.0}}}), dataset)
    assert "did you mean 'refund'" in caught.value.hint
    assert _journal(service, "job.moved") == []
