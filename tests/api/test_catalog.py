"""The catalog over HTTP: models and plugins."""

from __future__ import annotations

from luthier.core import registry


def test_every_model_says_whether_it_can_be_used_here(records):
    rows = {row["id"]: row for row in records.get("/api/v1/catalog/models").json()["data"]}
    assert rows["all-minilm-l6-v2"]["usable"] is True
    assert rows["all-minilm-l6-v2"]["memory_bytes"]["head"] > 0
    assert rows["gpt-4o"]["why_not"]


def test_the_list_can_be_narrowed(records):
    rows = records.get("/api/v1/catalog/models", params={"usable": True, "task": "text-classification"}).json()["data"]
    assert {row["usable"] for row in rows} == {True}
    assert all("text-classification" in row["tasks"] for row in rows)
    assert records.get("/api/v1/catalog/models", params={"task": "nothing"}).json()["data"] == []


def test_one_by_its_id_or_an_alias(records):
    assert records.get("/api/v1/catalog/models/MiniLM").json()["id"] == "all-minilm-l6-v2"
    said = records.get("/api/v1/catalog/models/all-minilm-l6-v3")
    assert said.status_code == 404
    assert "all-minilm-l6-v2" in said.json()["error"]["hint"]


def test_plugins_by_room(records):
    assert records.get("/api/v1/catalog/plugins").json() == {room: registry.names(room) for room in registry.ROOMS}
