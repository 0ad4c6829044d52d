"""Deployments: rows that a worker makes true, once, whatever happens to the worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from luthier.app.service import Service
from luthier.core.errors import Conflict, GateRefused, InputError, JobFailed, SpecError, UnknownName
from luthier.core.plan import Plan
from luthier.core.types import Artifact
from luthier.store.tables import CHECKPOINTS, DEPLOYMENTS, TUNED_MODELS

TUNED = "ft:all-minilm-l6-v2:luthier:desk:0123456789ab"
STEP = f"{TUNED}:ckpt-step-40"


@pytest.fixture
def chain(service: Service, planned: Callable[..., Plan], stored: Callable[..., Artifact]) -> Callable[..., SimpleNamespace]:
    """A tuned model in the tables: ``exported`` or not yet; ``accuracy`` is what its evaluation found."""

    def make(name: str = TUNED, *, exported: bool = True, accuracy: float = 0.9, **plan: Any) -> SimpleNamespace:
        planning = planned(**plan)
        dataset = stored("dataset", plan=planning, name=name)
        model = stored("model", dataset, plan=planning, name=name, accuracy=accuracy)
        scores = {"accuracy": {"value": accuracy, "higher_is_better": True}}
        evaluation = stored("evaluation", dataset, model, plan=planning, name=name, primary_metric="accuracy", scores=scores)
        export = stored("export", dataset, model, evaluation, plan=planning, name=name)
        row = {"job": "ftjob-1", "base": "all-minilm-l6-v2", "task": "text-classification", "model": model.id, "created_at": time.time()}
        row |= {"evaluation": evaluation.id, "export": export.id} if exported else {}
        with service.workspace.engine().begin() as connection:
            connection.execute(insert(TUNED_MODELS).values(workspace=service.workspace.name, name=name, **row))
        return SimpleNamespace(model=model, evaluation=evaluation, export=export, plan=planning)

    return make


def _row(service: Service, name: str) -> Any:
    with service.workspace.engine().connect() as connection:
        return connection.execute(select(DEPLOYMENTS).where(DEPLOYMENTS.c.name == name)).mappings().first()


def test_what_is_exported_answers_at_once(service: Service, chain: Callable[..., Any]) -> None:
    made = chain()
    shown = service.deployments.put("support", TUNED, {"name": "standard"}, {"note": 1})
    assert (shown["state"], shown["export"], shown["sku"], shown["properties"]) == (
        "succeeded", made.export.id, {"name": "standard"}, {"note": 1}
    )  # fmt: skip
    assert service.endpoints.get("support").export_id == made.export.id
    assert service.deployments.get("support") == shown
    assert service.deployments.list() == [shown]
    service.deployments.delete("support")
    assert service.endpoints.list() == []
    with pytest.raises(UnknownName):
        service.deployments.get("support")


def test_what_is_not_exported_waits_for_a_worker(service: Service, chain: Callable[..., Any]) -> None:
    chain(exported=False)
    assert service.deployments.put("support", TUNED)["state"] == "accepted"
    assert list(service.deployments.pending()) == ["support"]
    assert service.deployments.work("support")
    assert service.deployments.get("support")["state"] == "succeeded"
    assert service.endpoints.get("support").export_id == service.models.find(TUNED).row["export"]  # type: ignore[index]
    assert list(service.deployments.pending()) == []


def test_a_checkpoint_becomes_a_model_of_its_own_name(service: Service, chain: Callable[..., Any]) -> None:
    made = chain()
    row = {"id": "ftckpt_1", "job": "ftjob-1", "name": STEP, "artifact": made.model.id, "step": 40, "metrics": {}, "created_at": 1.0}
    with service.workspace.engine().begin() as connection:
        connection.execute(insert(CHECKPOINTS).values(workspace=service.workspace.name, **row))
    service.deployments.prepare(STEP)
    (name,) = service.deployments.pending()
    assert service.deployments.work(name)
    assert service.models.find(STEP).kind == "tuned"
    assert service.models.serving(STEP).export_id.startswith("export-")
    assert service.endpoints.list() == []


def test_a_missed_bar_is_kept_as_the_error_and_force_overrules_it(service: Service, chain: Callable[..., Any]) -> None:
    chain(accuracy=0.5, evaluate={"bars": {"accuracy": 0.8}})
    shown = service.deployments.put("support", TUNED)
    assert shown["state"] == "failed"
    assert shown["error"]["code"] == "gate_refused"
    assert "0.500" in shown["error"]["message"]
    assert service.endpoints.list() == []
    with pytest.raises(GateRefused):
        service.models.serving("support")
    assert service.deployments.put("support", TUNED, force=True)["state"] == "succeeded"


def test_the_old_model_answers_until_the_new_one_is_ready(service: Service, chain: Callable[..., Any]) -> None:
    old = chain()
    chain(f"{TUNED}2", exported=False)
    service.deployments.put("support", TUNED)
    shown = service.deployments.put("support", f"{TUNED}2")
    assert (shown["state"], shown["export"]) == ("accepted", old.export.id)
    service.deployments.work("support")
    assert service.deployments.get("support")["export"] != old.export.id


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a b", "x" * 41, "é"])
def test_names_that_cannot_be(service: Service, chain: Callable[..., Any], name: str) -> None:
    chain()
    with pytest.raises(InputError):
        service.deployments.put(name, TUNED)
    with pytest.raises(UnknownName):
        service.deployments.get(name)


def test_models_that_cannot_be_deployed(service: Service, chain: Callable[..., Any]) -> None:
    chain()
    service.deployments.put("support", TUNED)
    with pytest.raises(SpecError, match="is a deployment"):
        service.deployments.put("other", "support")
    with pytest.raises(SpecError, match="no encoder"):
        service.deployments.put("other", "gpt2")
    with pytest.raises(UnknownName):
        service.deployments.put("other", "never-heard-of")
    assert [one["name"] for one in service.deployments.list()] == ["support"]


def test_a_base_encoder_is_deployed_for_its_embeddings(service: Service) -> None:
    assert service.deployments.put("vectors", "minilm")["state"] == "succeeded"
    assert service.models.find("vectors").base == "all-minilm-l6-v2"
    with pytest.raises(InputError, match="base model"):
        service.models.serving("vectors")


def test_what_luthier_deploy_made_is_listed_and_what_it_took_away_is_not(service: Service, chain: Callable[..., Any]) -> None:
    made = chain()
    service.deploy(made.export, "by-hand")
    service.deployments.put("support", TUNED)
    assert [(one["name"], one["model"]) for one in service.deployments.list()] == [("by-hand", made.model.id), ("support", TUNED)]
    service.undeploy("support")
    assert [one["name"] for one in service.deployments.list()] == ["by-hand"]
    service.deployments.delete("by-hand")
    assert service.deployments.list() == []


def test_two_workers_do_the_work_once(service: Service, chain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made = chain(exported=False)
    service.deployments.put("support", TUNED)
    inside, go_on, calls = threading.Event(), threading.Event(), []

    def export(*given: Any) -> Artifact:
        calls.append(given)
        inside.set()
        assert go_on.wait(10)
        return made.export

    monkeypatch.setattr(service, "evaluate", lambda *_: made.evaluation)
    monkeypatch.setattr(service, "export", export)
    first = threading.Thread(target=service.deployments.work, args=("support",))
    first.start()
    assert inside.wait(10)
    assert list(service.deployments.pending()) == []
    assert service.deployments.work("support") is False
    go_on.set()
    first.join()
    assert len(calls) == 1
    assert service.deployments.get("support")["state"] == "succeeded"


def test_a_killed_workers_deployment_is_taken_over(service: Service, chain: Callable[..., Any]) -> None:
    chain(exported=False)
    service.deployments.put("support", TUNED)
    killed = {"state": "creating", "lease_owner": "elsewhere:1:1", "lease_token": "t", "lease_expires_at": time.time() - 1}
    with service.workspace.engine().begin() as connection:
        connection.execute(update(DEPLOYMENTS).values(**killed))
    assert list(service.deployments.pending()) == ["support"]
    assert service.deployments.work("support")


def test_a_worker_whose_deployment_was_replaced_writes_nothing(
    service: Service, chain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = chain(exported=False)
    chain(f"{TUNED}2")
    service.deployments.put("support", TUNED)

    def meanwhile(*_: Any) -> Artifact:
        service.deployments.put("support", f"{TUNED}2")
        return made.export

    monkeypatch.setattr(service, "evaluate", lambda *_: made.evaluation)
    monkeypatch.setattr(service, "export", meanwhile)
    assert service.deployments.work("support") is False
    assert service.deployments.get("support")["model"] == f"{TUNED}2"


def test_what_stands_in_the_way_for_a_while_is_waited_for(
    service: Service, chain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    chain(exported=False)
    service.deployments.put("support", TUNED)

    def busy(*_: Any) -> Artifact:
        raise Conflict("somebody else exports it")

    monkeypatch.setattr(service, "evaluate", busy)
    service.deployments.work("support")
    row = _row(service, "support")
    assert (row["state"], row["lease_token"]) == ("creating", "")
    assert row["lease_expires_at"] > time.time()
    assert list(service.deployments.pending()) == []


def test_a_model_that_cannot_be_made_ready_is_said_so_and_tried_again_later(
    service: Service, chain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    chain(exported=False)
    service.deployments.prepare(TUNED)

    def broken(*_: Any) -> Artifact:
        raise JobFailed("evaluate: it broke")

    monkeypatch.setattr(service, "evaluate", broken)
    (name,) = service.deployments.pending()
    service.deployments.work(name)
    with pytest.raises(Conflict, match="it broke"):
        service.models.serving(TUNED)
    with service.workspace.engine().begin() as connection:
        connection.execute(update(DEPLOYMENTS).values(created_at=time.time() - 3600))
    with pytest.raises(Exception, match="being made ready"):
        service.models.serving(TUNED)
    assert list(service.deployments.pending()) == [name]


def test_another_workspace_sees_nothing_of_it(service: Service, chain: Callable[..., Any]) -> None:
    chain()
    service.deployments.put("support", TUNED)
    other = Service(service.workspace.root, workspace="other")
    assert other.deployments.list() == []
    for act in (other.deployments.get, other.deployments.delete):
        with pytest.raises(UnknownName):
            act("support")
    assert other.deployments.work("support") is False


def test_the_same_on_postgresql(postgres_url: str, monkeypatch: pytest.MonkeyPatch, service: Service, chain: Callable[..., Any]) -> None:
    monkeypatch.setenv("LUTHIER_DATABASE", postgres_url)
    assert service.workspace.engine().dialect.name == "postgresql"
    chain(exported=False)
    chain(f"{TUNED}2")
    assert service.deployments.put("support", TUNED)["state"] == "accepted"
    assert list(service.deployments.pending()) == ["support"]
    assert service.deployments.work("support")
    assert service.deployments.put("other", f"{TUNED}2", {"name": "standard"})["state"] == "succeeded"
    service.deployments.prepare("never")
    assert [one["name"] for one in service.deployments.list()] == ["other", "support"]
    with pytest.raises(Conflict, match="deployed"):
        service.models.delete(TUNED)
    service.deployments.delete("support")
    service.models.delete(TUNED)
    with pytest.raises(UnknownName):
        service.models.find(TUNED)
    for odd in ("a\0b", "\ud83d", "'; drop table models; --"):
        with pytest.raises(UnknownName):
            service.models.find(odd)
        with pytest.raises(UnknownName):
            service.deployments.get(odd)
