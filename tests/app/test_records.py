"""Records in PostgreSQL are those in SQLite: pages, cursors, jobs of runs, judgements."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from luthier.app.records import Records
from luthier.core.errors import InputError, UnknownName


def _walk(filled: ModuleType, home: Path) -> dict[str, Any]:
    service = filled.fill(home)
    records = Records(service)
    for number in range(4):
        service.begin(f"more-{number}", filled.Plan(name="more", task="text-classification", model="all-minilm-l6-v2"))
    seen, after = [], ""
    while True:
        page = records.runs(2, after)
        seen += [(run["id"], run["state"], [job["state"] for job in run["jobs"]]) for run in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    judged = records.judgements("support", 2)
    judged["data"] += records.judgements("support", 2, judged["last_id"])["data"]
    return {"runs": seen, "judged": [one["answer"] for one in judged["data"]], "error": records.run("reviews-00000001")["jobs"][0]["error"]}


SAID = {
    "runs": [(f"more-{number}", "running", []) for number in (3, 2, 1, 0)] + [("reviews-00000001", "failed", ["failed"])],
    "judged": ["answer-2", "answer-1", "answer-0"],
    "error": {"code": "damaged", "message": "work/x: torn"},
}


def test_in_sqlite(filled: ModuleType, tmp_path: Path) -> None:
    assert _walk(filled, tmp_path / "home") == SAID


def test_in_postgresql(filled: ModuleType, tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTHIER_DATABASE", postgres_url)
    assert _walk(filled, tmp_path / "home") == SAID


def test_another_workspace_sees_none_of_it(filled: ModuleType, tmp_path: Path) -> None:
    filled.fill(tmp_path / "home")
    other = Records(filled.Service(tmp_path / "home", workspace="other"))
    assert other.runs()["data"] == other.artifacts()["data"] == []
    for ask in (other.run, other.artifact, other.dataset, other.evaluation, other.lineage, other.judgements):
        with pytest.raises(UnknownName):
            ask("reviews-00000001" if ask == other.run else "support" if ask == other.judgements else "reviews")
    with pytest.raises(UnknownName):
        other.runs(after="reviews-00000001")


def test_the_cursor_of_the_last_id_ends(filled: ModuleType, tmp_path: Path) -> None:
    records = Records(filled.fill(tmp_path / "home"))
    last = records.artifacts(limit=100)["last_id"]
    assert records.artifacts(after=last) == {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}
    with pytest.raises(InputError):
        records.judgements("support", after="feedback-" + "9" * 40)
