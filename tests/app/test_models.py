"""Models by name: what a name means and in which order, what is shown of it, and when its name may go."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, update

from luthier.app.models import BeingReady
from luthier.app.service import Service
from luthier.core.errors import Conflict, Forbidden, InputError, UnknownName
from luthier.core.types import Artifact
from luthier.store.tables import CHECKPOINTS, DEPLOYMENTS, TUNED_MODELS, TUNINGS

TUNED = "ft:all-minilm-l6-v2:luthier:desk:0123456789ab"
STEP = f"{TUNED}:ckpt-step-40"


@pytest.fixture
def rows(service: Service) -> Callable[..., None]:
    """Writes a row into a table of the service's workspace."""

    def write(table: Any, **values: Any) -> None:
        with service.workspace.engine().begin() as connection:
            connection.execute(insert(table).values(workspace=service.workspace.name, **values))

    return write


@pytest.fixture
def tuned(rows: Callable[..., None], stored: Callable[..., Artifact]) -> Artifact:
    """A tuned model with an export, and a checkpoint without."""
    export = stored("export", stored("model"))
    base = {"job": "ftjob-1", "base": "all-minilm-l6-v2", "task": "text-classification"}
    rows(TUNED_MODELS, name=TUNED, model="model-1", export=export.id, created_at=time.time(), **base)
    rows(CHECKPOINTS, id="ftckpt_1", job="ftjob-1", name=STEP, artifact="model-2", step=40, metrics={}, created_at=time.time())
    return export


def test_a_name_is_a_deployment_before_it_is_anything_else(service: Service, tuned: Artifact) -> None:
    assert service.models.find(TUNED).kind == "tuned"
    assert service.models.find(STEP).kind == "checkpoint"
    assert service.models.find("MiniLM").name == "all-minilm-l6-v2"
    service.endpoints.put("minilm", task="text-classification", export=tuned.id, evaluation="e", model="model-1")
    found = service.models.find("minilm")
    assert (found.kind, found.base) == ("endpoint", TUNED)
    assert service.models.find("all-minilm").kind == "base"


@pytest.mark.parametrize("name", ["", "x" * 301, "a\0b", "\ud83d", "../etc", "/etc", "~root", "org/never-heard-of"])
def test_a_name_that_means_nothing(service: Service, name: str) -> None:
    with pytest.raises(UnknownName):
        service.models.find(name)


def test_a_typing_error_is_answered_with_the_nearest_name(service: Service, tuned: Artifact) -> None:
    with pytest.raises(UnknownName) as caught:
        service.models.get(TUNED.replace("desk", "dek"))
    assert TUNED in caught.value.hint


def test_a_folder_of_the_operator_is_a_model_and_no_other_folder(service: Service) -> None:
    folder = service.workspace.root / "models" / "ours"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "bert", "hidden_size": 8}')
    assert service.models.find("ours").kind == "base"
    with pytest.raises(UnknownName):
        service.models.find(str(folder))


def test_everything_is_listed_once_and_in_openais_form(service: Service, tuned: Artifact) -> None:
    listed = service.models.list()
    names = [one["id"] for one in listed]
    assert len(names) == len(set(names))
    assert names[:2] == [TUNED, STEP]
    shown = {one["id"]: one for one in listed}
    assert shown[TUNED]["capabilities"] == {
        "fine_tune": True, "inference": True, "completion": True, "chat_completion": True, "embeddings": True
    }  # fmt: skip
    assert (shown[TUNED]["model"], shown[TUNED]["fine_tune"]) == ("all-minilm-l6-v2", "ftjob-1")
    base = shown["all-minilm-l6-v2"]["capabilities"]
    assert (base["embeddings"], base["chat_completion"], base["fine_tune"]) == (True, False, True)
    assert not shown["gpt2"]["capabilities"]["embeddings"]


def test_another_workspace_sees_nothing_of_it(service: Service, tuned: Artifact) -> None:
    other = Service(service.workspace.root, workspace="other")
    with pytest.raises(UnknownName):
        other.models.find(TUNED)
    assert TUNED not in [one["id"] for one in other.models.list()]
    with pytest.raises(UnknownName):
        other.models.delete(TUNED)


def test_a_tuned_model_goes_with_its_name_only(service: Service, tuned: Artifact) -> None:
    service.models.delete(TUNED)
    with pytest.raises(UnknownName):
        service.models.find(TUNED)
    assert service.artifact(tuned.id)


def test_what_may_not_be_deleted(service: Service, tuned: Artifact) -> None:
    with pytest.raises(Forbidden):
        service.models.delete("all-minilm-l6-v2")
    with pytest.raises(Forbidden, match="checkpoint"):
        service.models.delete(STEP)
    service.endpoints.put("support", task="text-classification", export=tuned.id, evaluation="e", model="another")
    with pytest.raises(Conflict, match="is a deployment"):
        service.models.delete("support")


@pytest.mark.parametrize("state", ["accepted", "creating", "succeeded"])
def test_a_deployed_model_is_kept(service: Service, tuned: Artifact, rows: Callable[..., None], state: str) -> None:
    rows(DEPLOYMENTS, name="support", model=TUNED, state=state)
    with pytest.raises(Conflict, match="deployed"):
        service.models.delete(TUNED)


def test_a_model_that_an_endpoint_answers_with_is_kept(service: Service, tuned: Artifact) -> None:
    service.endpoints.put("support", task="text-classification", export=tuned.id, evaluation="e", model="model-1")
    with pytest.raises(Conflict, match="deployed"):
        service.models.delete(TUNED)


def test_a_model_that_a_job_trains_on_is_kept_until_the_job_ends(service: Service, tuned: Artifact, rows: Callable[..., None]) -> None:
    rows(TUNINGS, id="ftjob-2", state="running", model=TUNED, training_file="file-1", seed=1)
    with pytest.raises(Conflict, match="trains on"):
        service.models.delete(TUNED)
    with service.workspace.engine().begin() as connection:
        connection.execute(update(TUNINGS).values(state="failed"))
    service.models.delete(TUNED)


def test_what_answers_for_a_name(service: Service, tuned: Artifact) -> None:
    served = service.models.serving(TUNED)
    assert (served.export_id, str(served.folder)) == (tuned.id, tuned.path)
    assert service.models.embedding(TUNED) == served
    with pytest.raises(InputError, match="base model"):
        service.models.serving("all-minilm-l6-v2")
    with pytest.raises(InputError, match="embeddings need an encoder"):
        service.models.embedding("gpt2")


def test_a_checkpoint_is_made_ready_when_it_is_asked(service: Service, tuned: Artifact) -> None:
    with pytest.raises(BeingReady) as caught:
        service.models.serving(STEP)
    assert caught.value.retry_after_s == 20
    (name,) = service.deployments.pending()
    assert name.startswith(".")
    assert service.deployments.list() == []
    with pytest.raises(BeingReady):  # asked again: not made twice
        service.models.serving(STEP)
    assert list(service.deployments.pending()) == [name]
