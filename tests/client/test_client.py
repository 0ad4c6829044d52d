"""The client against a real server: every noun and verb, and the server's errors as the errors that they were."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import uvicorn

from luthier.api import create_app
from luthier.client import Client
from luthier.core import errors, registry


@pytest.fixture(scope="module")
def served(filled, tmp_path_factory) -> Iterator[SimpleNamespace]:
    """A server in a thread over a filled workspace: its ``client``, and the ``service`` below."""
    service = filled.fill(tmp_path_factory.mktemp("client") / "home")
    server = uvicorn.Server(uvicorn.Config(create_app(service, workers=1), port=0, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield SimpleNamespace(client=Client(f"http://127.0.0.1:{port}"), service=service, port=port)
    server.should_exit = True
    thread.join(10)


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


def test_jobs_are_listed_and_counted_out(served):
    assert served.client.jobs.list(metadata={"team": "blue"})["data"] == []
    assert list(served.client.jobs.all()) == []
    with pytest.raises(errors.LuthierError):
        served.client.jobs.create({"model": "all-minilm-l6-v2"})


def test_a_base_address_for_openai_is_understood(served):
    for suffix in ("/v1", "/openai/v1/", "/openai", "/", "/api/v1"):
        assert Client(f"http://localhost:{served.port}{suffix}").endpoints.list()


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(served, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert Client(f"http://127.0.0.1:{served.port}").endpoints.list()
