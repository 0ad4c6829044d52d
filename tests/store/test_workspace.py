"""Where everything of one team lies, and what the environment says about it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from luthier.core.errors import InputError
from luthier.core.events import NoteSaid
from luthier.store import files, processes
from luthier.store import workspace as module
from luthier.store.database import connect
from luthier.store.workspace import Workspace


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("LUTHIER_HOME", "LUTHIER_DATABASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    yield
    connect.cache_clear()


def test_a_new_workspace_makes_its_folders(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "deep" / "home")
    assert workspace.home == tmp_path / "deep" / "home"
    for folder in (workspace.work, workspace.cache, workspace.artifacts.root):
        assert folder.is_dir()
        assert folder.is_relative_to(workspace.home)
    Workspace(tmp_path / "deep" / "home")


def test_the_folder_is_given_or_named_by_the_environment_or_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Workspace().home == tmp_path / ".luthier"
    monkeypatch.setenv("LUTHIER_HOME", str(tmp_path / "team"))
    assert Workspace().home == tmp_path / "team"
    assert Workspace(tmp_path / "given").home == tmp_path / "given"
    assert Workspace("relative").home == tmp_path / "relative"


def test_a_workspace_stays_where_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace("home")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert workspace.work.is_dir()
    assert workspace.database == f"sqlite:///{tmp_path}/home/luthier.db"


@pytest.mark.parametrize("name", ["file.txt", "file.txt/home"])
def test_what_cannot_be_a_workspace_is_refused_with_a_remedy(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.txt").touch()
    with pytest.raises(InputError, match="cannot be a workspace") as caught:
        Workspace(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "LUTHIER_HOME" in caught.value.hint


def test_the_database_is_in_the_workspace_or_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path / "home")
    workspace.journal().append([NoteSaid(text="here")])
    assert (tmp_path / "home" / "luthier.db").is_file()
    monkeypatch.setenv("LUTHIER_DATABASE", f"sqlite:///{tmp_path / 'shared.db'}")
    assert workspace.journal().read() == []
    assert (tmp_path / "shared.db").is_file()


def test_two_workspaces_know_nothing_of_each_other(tmp_path: Path) -> None:
    one, other = Workspace(tmp_path / "one"), Workspace(tmp_path / "other")
    one.journal().append([NoteSaid(text="one")])
    assert other.journal().read() == []
    assert Workspace(tmp_path / "one").journal().read()[0].body["text"] == "one"
    with one.engine().connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM runs")).scalar() == 0


def test_sweeping_removes_what_killed_writers_left_and_nothing_else(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "home")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    folders = (workspace.home, workspace.work, workspace.cache, workspace.cache / "features", workspace.artifacts.root)
    for folder in folders:
        (folder / f"{files.ASIDE}{processes.mark()._replace(pid=dead.pid)}-abc-x").mkdir(parents=True)
        files.write_text(folder / "kept" / "a.txt", "a")
    assert workspace.sweep() == 5
    assert workspace.sweep() == 0
    for folder in folders:
        assert (folder / "kept" / "a.txt").is_file()


def test_each_job_asks_for_a_sweep_and_one_an_hour_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, swept = Workspace(tmp_path / "home"), []
    monkeypatch.setattr(Workspace, "sweep", lambda self: swept.append(self.home))
    for _ in range(3):
        workspace.sweep_sometimes()
    Workspace(tmp_path / "home").sweep_sometimes()
    Workspace(tmp_path / "home", "blue").sweep_sometimes()
    assert swept == [workspace.home, workspace.home / "workspaces" / "blue"]
    monkeypatch.setattr(module, "SWEEP_S", 0.0)
    workspace.sweep_sometimes()
    assert len(swept) == 3


def test_opening_a_workspace_loads_no_database_library(tmp_path: Path) -> None:
    code = (
        f"import sys; from luthier.store.workspace import Workspace; Workspace({str(tmp_path / 'w')!r}); print('sqlalchemy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
