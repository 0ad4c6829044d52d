"""The client against a real server: every noun and verb, and the server's errors as the errors that they were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from luthier.api import create_app
from luthier.api.access import Guarded
from luthier.app.keys import Keys
from luthier.client import Client, tuning
from luthier.core import errors, registry


@pytest.fixture(scope="module")
def served(filled, tmp_path_factory) -> Iterator[SimpleNamespace]:
    """A server in a thread over a filled workspace: its ``client``, and the ``service`` below."""
    service = filled.fill(tmp_path_factory.mktemp("client") / "home")
    with filled.listening(create_app(service, workers=1)) as url:
        yield SimpleNamespace(client=Client(url), service=service, url=url)


def test_what_was_made(served):
    client = served.client
    kinds = ["export", "evaluation", "model", "dataset"]
    assert [one["kind"] for one in client.artifacts.all()] == kinds
    page = client.artifacts.list(limit=3)
    assert page["has_more"]
    assert [one["kind"] for one in client.artifacts.list(after=page["last_id"])["data"]] == ["dataset"]
    assert [one["kind"] for one in client.artifacts.all(kind="model")] == ["model"]
    assert {one["kind"] for one in client.artifacts.lineage("reviews")} == set(kinds)
    assert client.datasets.get("reviews")["report"]["rows"] == 40
    assert client.evaluations.get("reviews")["figures"]["gate"]["passed"] is True
    assert "<html>" in client.evaluations.report("reviews")
    assert client.runs.get("reviews-00000001")["jobs"][0]["state"] == "failed"
    assert [one["id"] for one in client.runs.all()] == ["reviews-00000001"]


def test_the_catalog(served):
    assert "all-minilm-l6-v2" in {row["id"] for row in served.client.catalog.models(task="text-classification", usable=True)}
    assert served.client.catalog.model("minilm")["id"] == "all-minilm-l6-v2"
    assert served.client.catalog.plugins() == {room: registry.names(room) for room in registry.ROOMS}


def test_asking_and_judging_and_watching(served):
    client = served.client
    assert [one["name"] for one in client.endpoints.list()] == ["support"]
    assert client.endpoints.get("support")["labels"] == ["parcel", "refund"]
    one = client.predict("support", "where is it")
    assert set(client.predict("support", ["where is it"], scores=True)[0]["scores"]) == {"parcel", "refund"}
    assert len(client.predict("support", [f"text {number}" for number in range(300)])) == 300
    client.feedback.give("support", one["id"], thumbs="up")
    assert client.feedback.list("support", limit=1)["data"][0]["answer"] == one["id"]
    assert client.watch("support", 3600)["thumbs"] == {"down": 3, "up": 1}


def test_a_plan(served):
    assert served.client.plan({"data": {"train": "made:support-messages"}, "train": {"method": "head"}})["train"]["method"] == "head"


def test_errors_come_back_as_what_they_were(served):
    client = served.client
    with pytest.raises(errors.UnknownName) as unknown:
        client.predict("suport", "a")
    assert unknown.value.hint == "did you mean 'support'?"
    with pytest.raises(errors.SpecError) as spec:
        client.plan({"train": {"epoch": 3}})
    assert (spec.value.path, spec.value.hint) == ("train.epoch", "did you mean 'epochs'?")
    with pytest.raises(errors.InputError, match="window_s"):
        client.watch("support", 0.5)
    with pytest.raises(errors.UnknownName):
        client.artifacts.get("../../etc/passwd")
    with pytest.raises(errors.UnknownName):
        client.jobs.get("ftjob-nothing")


def test_the_life_of_a_file(served, filled, tmp_path: Path):
    files = served.client.files
    path = filled.chats(tmp_path / "größe.jsonl")
    made = files.upload(path, expires_after_s=3600)
    assert (made["filename"], made["bytes"]) == ("größe.jsonl", path.stat().st_size)
    assert made["expires_at"] - made["created_at"] == 3600
    found = files.check(made["id"])
    assert (found["status"], found["facts"]["rows"]) == ("processed", 40)
    assert made["id"] in [one["id"] for one in files.all(purpose="fine-tune")]
    assert files.content(made["id"], tmp_path / "back.jsonl").read_bytes() == path.read_bytes()
    assert files.delete(made["id"])["deleted"] is True
    with pytest.raises(errors.UnknownName):
        files.get(made["id"])
    with pytest.raises(errors.UnknownName):
        files.content(made["id"], tmp_path / "nothing.jsonl")
    assert not (tmp_path / "nothing.jsonl").exists()


def test_a_large_file_is_sent_in_parts(served, filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tuning, "LARGEST_BYTES", 500)
    monkeypatch.setattr(tuning, "PART_BYTES", 700)
    path = filled.chats(tmp_path / "rows.jsonl")
    made = served.client.files.upload(path, expires_after_s=7200)
    assert (made["filename"], made["expires_at"] - made["created_at"]) == ("rows.jsonl", 7200)
    assert served.client.files.content(made["id"], tmp_path / "back").read_bytes() == path.read_bytes()
    with pytest.raises(errors.InputError):
        served.client.files.upload(path, "nonsense")


def test_a_file_that_cannot_be_used_says_its_rows(served, tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"messages": 3}\n' * 12, encoding="utf-8")
    found = served.client.files.check(served.client.files.upload(path)["id"])
    assert found["status"] == "error"
    assert "1" in found["status_details"]


def test_the_life_of_a_job(served, filled, tmp_path: Path):
    client = served.client
    file = client.files.upload(filled.chats(tmp_path / "rows.jsonl"))["id"]
    job = client.jobs.create({"model": "all-minilm-l6-v2", "training_file": file, "metadata": {"team": "blue"}})["id"]
    assert [one["id"] for one in client.jobs.list(metadata={"team": "blue"})["data"]] == [job]
    assert client.jobs.list(metadata={"team": "red"})["data"] == []
    assert client.jobs.pause(job)["status"] == "paused"
    assert client.jobs.resume(job)["status"] == "queued"
    with pytest.raises(errors.Conflict, match=job):
        client.files.delete(file)
    with pytest.raises(errors.Conflict):
        client.jobs.delete(job)
    assert client.jobs.cancel(job)["status"] == "cancelled"
    told = [one["message"] for one in client.jobs.follow(job)]
    assert told[0] == f"Created fine-tuning job: {job}"
    assert told[-1] == "The job has been cancelled"
    assert [one["message"] for one in client.jobs.events(job, limit=1)["data"]] == told[-1:]
    assert client.jobs.checkpoints(job)["data"] == []
    client.jobs.delete(job)
    assert list(client.jobs.all()) == []
    with pytest.raises(errors.InputError):
        client.jobs.create({"model": "all-minilm-l6-v2"})
    assert client.plan({"data": {"train": file}})["data"]["train"] == [file]
    with pytest.raises(errors.UnknownName):
        client.plan({"data": {"train": "file-000000000000000000000000"}})


def test_what_is_deployed(served):
    client = served.client
    assert client.deployments.put("embed", "all-minilm-l6-v2")["state"] == "succeeded"
    assert client.deployments.get("embed")["model"] == "all-minilm-l6-v2"
    assert {one["name"] for one in client.deployments.all()} >= {"embed", "support"}
    client.deployments.delete("embed")
    made = client.artifacts.deploy("reviews", "second")
    assert made["export"].startswith("export-")
    client.deployments.delete("second")
    with pytest.raises(errors.UnknownName):
        client.deployments.get("second")


def test_keys_say_who_may(served, filled, tmp_path: Path):
    service = filled.fill(tmp_path / "home")
    keys = Keys(service.workspace.engine())
    _, secret = keys.create("default", "first", ["admin"])
    with filled.listening(create_app(service, workers=1, access=Guarded(keys))) as url:
        with pytest.raises(errors.Unauthorized):
            Client(url).runs.list()
        admin = Client(url, secret)
        made = admin.keys.create("reader", ["read"])
        reader = Client(url, made["key"])
        assert reader.runs.list()["data"]
        with pytest.raises(errors.Forbidden):
            reader.plan({})
        with pytest.raises(errors.Forbidden):
            reader.files.upload(filled.chats(tmp_path / "rows.jsonl"))
        again = admin.keys.rotate(made["id"])["key"]
        assert Client(url, again).runs.list()["data"]
        with pytest.raises(errors.Unauthorized):
            reader.runs.list()
        admin.keys.revoke(made["id"])
        with pytest.raises(errors.Unauthorized):
            Client(url, again).runs.list()
        assert [one["name"] for one in admin.keys.all()] == ["first"]
        assert admin.keys.get(made["id"])["state"] == "revoked"


def test_a_base_address_for_openai_is_understood(served):
    for suffix in ("/v1", "/openai/v1/", "/openai", "/", "/api/v1"):
        assert Client(served.url.replace("127.0.0.1", "localhost") + suffix).endpoints.list()


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(served, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert Client(served.url).endpoints.list()
