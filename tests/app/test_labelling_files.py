"""Messages to label from files: what cannot be read is told, not thrown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from luthier.app.labelling_files import rows_of_files
from luthier.core.plan import DataPlan


@pytest.mark.parametrize(("kind", "value"), [("spans", []), ("labels", []), ("label", None)])
def test_tasks_that_are_none_are_refused_and_empty_annotations_say_none(tmp_path: Path, kind: Any, value: Any) -> None:
    path = tmp_path / "tasks.json"
    annotation = {"completed_by": {"email": "ann"}, "created_at": "2026-01-01T00:00:00Z", "result": []}
    path.write_text(json.dumps([{"data": {"text": "a"}, "annotations": [annotation]}, [1, 2], 5]), encoding="utf-8")
    refused: list[str] = []
    (row,) = rows_of_files(kind, DataPlan(train=[str(path)], format="label-studio"), refused.append)
    assert [one["value"] for one in row["annotations"]] == ([] if value is None else [value])
    assert [line.split(": ")[1] for line in refused] == ["task 2", "task 3"]
