"""Runs over HTTP: how each ended, its jobs, pages that hold each run once."""

from __future__ import annotations

import time

from starlette.testclient import TestClient

from luthier.api import create_app
from luthier.app.service import Service
from luthier.core.plan import Plan


def test_a_run_comes_with_its_jobs(records):
    (one,) = records.get("/api/v1/runs").json()["data"]
    assert (one["id"], one["state"]) == ("reviews-00000001", "failed")
    (job,) = one["jobs"]
    assert (job["stage"], job["state"], job["error"]) == ("prepare", "failed", {"code": "damaged", "message": "work/x: torn"})
    assert set(job) == {"id", "stage", "state", "artifact", "error", "updated_at"}, "who works on it is no caller's business"
    whole = records.get("/api/v1/runs/reviews-00000001").json()
    assert whole["plan"]["data"]["train"] == ["reviews.csv"]
    assert {name: whole[name] for name in one} == one


def test_an_unknown_run_is_404(records):
    assert records.get("/api/v1/runs/nothing").status_code == 404
    assert records.get("/api/v1/runs/%00").status_code == 400
    assert records.get("/api/v1/runs?after=nothing").status_code == 404


def test_pages_hold_each_run_once_also_when_they_began_together(tmp_path, monkeypatch):
    service = Service(tmp_path / "home")
    plan = Plan(name="try", task="text-classification", model="all-minilm-l6-v2")
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    for number in range(5):
        service.begin(f"try-{number}", plan)
    monkeypatch.undo()
    seen, after = [], ""
    with TestClient(create_app(service, workers=1)) as client:
        for _ in range(3):
            page = client.get("/api/v1/runs", params={"limit": 2, "after": after}).json()
            seen += [one["id"] for one in page["data"]]
            after = page["last_id"]
    assert seen == [f"try-{number}" for number in (4, 3, 2, 1, 0)]
    assert page["has_more"] is False
