"""What was made, over HTTP: lists with a cursor, one artifact, its parents, and no folder of the server in any of it."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from luthier.api import create_app

ARTIFACTS = "/api/v1/artifacts"


def test_a_page_is_newest_first_and_the_cursor_leads_on(records):
    whole = records.get(ARTIFACTS).json()
    assert [one["kind"] for one in whole["data"]] == ["export", "evaluation", "model", "dataset"]
    assert whole["has_more"] is False
    seen, after = [], ""
    while True:
        page = records.get(ARTIFACTS, params={"limit": 3, "after": after}).json()
        seen += [one["id"] for one in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert seen == [one["id"] for one in whole["data"]]
    empty = records.get(ARTIFACTS, params={"after": seen[-1]}).json()
    assert (empty["data"], empty["first_id"]) == ([], None)


def test_a_kind_is_asked_for(records):
    assert [one["kind"] for one in records.get(ARTIFACTS, params={"kind": "model"}).json()["data"]] == ["model"]
    assert records.get(ARTIFACTS, params={"kind": "nothing"}).json()["data"] == []


def test_one_by_its_id_or_name_with_its_plan(records):
    found = records.get(f"{ARTIFACTS}/reviews").json()
    assert found == records.get(f"{ARTIFACTS}/{found['id']}").json()
    assert found["kind"] == "export"
    assert found["plan"]["data"]["train"] == ["reviews.csv"]
    assert found["files"]["schema.json"]["size_bytes"] > 0


def test_the_lineage_ends_at_the_data(records):
    found = records.get(f"{ARTIFACTS}/reviews/lineage").json()["data"]
    assert found[0]["kind"] == "export"
    assert {one["kind"] for one in found[1:]} == {"evaluation", "model", "dataset"}


def test_no_folder_of_the_server_is_told(records, filled):
    home = str(records.service.workspace.home)
    addresses = ["artifacts", "artifacts/reviews", "artifacts/reviews/lineage", "datasets/reviews", "evaluations/reviews", "runs"]
    addresses += ["evaluations/reviews/report", "runs/reviews-00000001", "catalog/models", "monitors/support"]
    for address in addresses:
        said = records.get(f"/api/v1/{address}")
        assert said.status_code == 200, address
        assert home not in said.text, address
        assert filled.DATA not in said.text, address


@pytest.mark.parametrize("name", ["nothing", "%2e%2e", ".", "%2e", "a" * 200, "größe"])
def test_a_name_that_nothing_has_is_404(records, name):
    said = records.get(f"{ARTIFACTS}/{name}" if name != "." else f"{ARTIFACTS}/%2E")
    assert said.status_code == 404, said.text
    assert str(records.service.workspace.home) not in said.text


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "after=%00", "limit=9999999999999999999999"])
def test_a_wrong_question_is_400(records, query):
    assert records.get(f"{ARTIFACTS}?{query}").status_code == 400


def test_an_unknown_cursor_is_404(records):
    assert records.get(ARTIFACTS, params={"after": "model-0000000000000000"}).status_code == 404


def test_an_export_is_deployed_through_the_gate(filled, tmp_path):
    service = filled.fill(tmp_path / "home")
    with TestClient(create_app(service, workers=1), raise_server_exceptions=False) as client:
        model = client.get(ARTIFACTS, params={"kind": "model"}).json()["first_id"]
        said = client.post(f"{ARTIFACTS}/{model}/deploy", json={"endpoint": "other"})
        assert said.status_code == 200, said.text
        info = service.endpoints.get("other")
        assert said.json() == {"endpoint": "other", "export": info.export_id, "model": model}
        assert service.journal.last(1, names=["endpoint.deployed"])[0].body["forced"] is False
        dataset = client.get(ARTIFACTS, params={"kind": "dataset"}).json()["first_id"]
        for name, status in (("nothing", 404), ("%2e%2e", 404), (dataset, 404)):
            assert client.post(f"{ARTIFACTS}/{name}/deploy", json={"endpoint": "more"}).status_code == status
        for body in ({}, {"endpoint": ""}, {"endpoint": "a b"}, {"endpoint": "a" * 41}, {"endpoint": "a", "force": "perhaps"}):
            assert client.post(f"{ARTIFACTS}/{model}/deploy", json=body).status_code == 400
    assert [info.name for info in service.endpoints.list()] == ["other", "support"]


def test_a_missed_bar_is_a_conflict_that_force_overrules(filled, tmp_path):
    service = filled.fill(tmp_path / "home", bars={"accuracy": 0.95})
    with TestClient(create_app(service, workers=1), raise_server_exceptions=False) as client:
        said = client.post(f"{ARTIFACTS}/reviews/deploy", json={"endpoint": "other"})
        assert said.status_code == 409, said.text
        assert said.json()["error"]["code"] == "gate_refused"
        assert "0.95" in said.json()["error"]["message"]
        assert client.post(f"{ARTIFACTS}/reviews/deploy", json={"endpoint": "other", "force": True}).status_code == 200
