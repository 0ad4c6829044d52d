"""``--url``: a command says the same of a workspace here and of a server over it."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvicorn

from luthier.api import create_app
from luthier.app.service import Service
from luthier.cli import main


class Said(NamedTuple):
    code: int
    out: str
    err: str


Luthier = Callable[..., Said]


@pytest.fixture(scope="module")
def home(filled: Any, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A filled workspace."""
    service: Service = filled.fill(tmp_path_factory.mktemp("remote") / "home")
    return service


@pytest.fixture(scope="module")
def url(home: Service) -> Iterator[str]:
    """A server over it."""
    server = uvicorn.Server(uvicorn.Config(create_app(home, workers=1), port=0, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def luthier(home: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Luthier:
    """``luthier`` with these words, in the workspace of the server."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"HF_HUB_OFFLINE": "1", "COLUMNS": "160", "LUTHIER_HOME": str(home.workspace.root)}.items():
        monkeypatch.setenv(name, value)
    for name in ("LUTHIER_URL", "LUTHIER_API_KEY", "LUTHIER_DATABASE"):
        monkeypatch.delenv(name, raising=False)

    def call(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["luthier", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return call


SAME = [
    ["models", "--json"],
    ["models", "--usable", "--task", "text-classification"],
    ["plugins"],
    ["plugins", "--json"],
    ["artifacts"],
    ["artifacts", "--kind", "model", "--json"],
    ["runs"],
    ["runs", "--json"],
    ["endpoints"],
    ["endpoints", "--json"],
    ["ask", "support", "where is it", "refund me", "--scores", "--json"],
    ["ask", "support", "where is it"],
    ["plan", "recipe.yaml"],
    ["jobs", "list", "--json"],
    ["files", "list"],
    ["ask", "suport", "a"],
    ["watch", "suport", "--once"],
    ["jobs", "get", "ftjob-nothing"],
    ["feedback", "support", "1", "--right", "refunds"],
    ["feedback", "support", "1"],
]


@pytest.mark.parametrize("words", SAME, ids=" ".join)
def test_it_says_the_same_here_and_there(luthier: Luthier, url: str, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("data: {train: 'made:support-messages'}\ntrain: {method: head}\n", encoding="utf-8")
    here, there = luthier(*words), luthier(*words, "--url", url)
    assert there == here or words[0] == "plan", there
    if words[0] == "plan":  # how much memory is free changes from call to call
        assert [line for line in there.err.splitlines() if "memory" not in line] == [
            line for line in here.err.splitlines() if "memory" not in line
        ]
    assert here.out or here.err
    assert "Traceback" not in there.err


def test_watch_is_the_same_figures(luthier: Luthier, url: str) -> None:
    here, there = (json.loads(luthier("watch", "support", "--json", "--window-s", "3600", *more).out) for more in ((), ("--url", url)))
    moving = ("start", "end")
    assert {key: there[key] for key in there if key not in moving} == {key: here[key] for key in here if key not in moving}
    assert there["thumbs"] == {"down": 3}
    assert "3 down" in luthier("watch", "support", "--once", "--window-s", "3600", "--url", url).out


def test_the_address_comes_from_the_environment(luthier: Luthier, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LUTHIER_HOME", str(tmp_path / "nothing"))
    assert json.loads(luthier("artifacts", "--json").out) == []
    monkeypatch.setenv("LUTHIER_URL", url)
    assert len(json.loads(luthier("artifacts", "--json").out)) == 4


def test_a_judgement_reaches_the_server(luthier: Luthier, url: str, home: Service) -> None:
    assert luthier("feedback", "support", "from-far", "--thumbs", "up", "--url", url) == Said(0, "", "")
    assert home.journal.last(1, names=["feedback.given"])[0].body["id"] == "from-far"


def test_a_recipe_with_a_file_of_this_machine_is_told_to_upload_it(luthier: Luthier, url: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\na,b\n", encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text("data: {train: rows.csv}\n", encoding="utf-8")
    said = luthier("plan", "recipe.yaml", "--url", url)
    assert said.code == 1
    assert "luthier files upload" in " ".join(said.err.split())


@pytest.mark.parametrize("words", [["--url", "http://127.0.0.1:9"], ["--url", "nonsense"]])
def test_no_server_is_a_sentence_and_a_remedy(luthier: Luthier, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    said = luthier("runs", *words)
    assert said.code == 1
    assert "→" in said.err
    assert "Traceback" not in said.err


def test_a_key_is_never_said(luthier: Luthier, url: str) -> None:
    said = luthier("ask", "suport", "a", "--url", url, "--key", "lk-very-secret")
    assert "secret" not in said.out + said.err
