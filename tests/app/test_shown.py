"""What a caller far away is told holds no folder of this machine, and no figure that JSON cannot hold."""

from __future__ import annotations

import json
from pathlib import Path

from luthier.app.shown import Shown
from luthier.store.workspace import Workspace


def test_folders_go_and_the_rest_stays(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "home")
    shown = Shown(workspace, {"data": {"train": ["/srv/customers/rows.csv", "rows.csv"]}, "base": {"source": {"name": "/models/bert"}}})
    said = {
        f"{workspace.home}/work/x": [f"{workspace.home}: torn", str(workspace.home)],
        "row": "/srv/customers/rows.csv:18",
        "base": "/models/bert",
        "text": "see /srv/other and https://host/a/b or 1/2",
        "figures": (float("nan"), float("inf"), 0.5, 3, None, True),
    }
    assert shown.value(said) == {
        f"{workspace.home}/work/x": [".: torn", "."],
        "row": "rows.csv:18",
        "base": "bert",
        "text": "see /srv/other and https://host/a/b or 1/2",
        "figures": [None, None, 0.5, 3, None, True],
    }
    json.dumps(shown.value(said), allow_nan=False)


def test_a_folder_that_html_writes_otherwise_goes_too(tmp_path: Path) -> None:
    shown = Shown(Workspace(tmp_path / "home"), {"data": {"train": ["/srv/a&b/rows.csv"]}})
    assert shown.text("<td>/srv/a&amp;b/rows.csv</td>") == "<td>rows.csv</td>"


def test_a_name_at_the_root_takes_nothing_else_away(tmp_path: Path) -> None:
    assert Shown(Workspace(tmp_path / "home"), {"data": {"train": ["/rows.csv"]}}).text("1/2 of a/b") == "1/2 of a/b"
