"""Datasets over HTTP: the list, the report's figures, the lineage."""

from __future__ import annotations


def test_the_list_holds_datasets_only(records):
    page = records.get("/api/v1/datasets").json()
    assert [(one["kind"], one["summary"]) for one in page["data"]] == [("dataset", {"rows": 40})]
    assert page["first_id"] == page["last_id"] == page["data"][0]["id"]


def test_one_comes_with_its_report(records):
    found = records.get("/api/v1/datasets/reviews").json()
    assert found["report"] == {"rows": 40, "files": [{"title": "reviews.csv"}], "splits": {"train": 30}}


def test_its_lineage_is_itself(records):
    assert len(records.get("/api/v1/datasets/reviews/lineage").json()["data"]) == 1


def test_a_model_is_no_dataset(records):
    model = records.get("/api/v1/artifacts?kind=model").json()["data"][0]["id"]
    assert records.get(f"/api/v1/datasets/{model}").status_code == 404
