"""``--url``: a command says the same of a workspace here and of a server over it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

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
def url(home: Service, filled: Any) -> Iterator[str]:
    """A server over it."""
    with filled.listening(create_app(home, workers=1)) as address:
        yield address


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


@pytest.mark.parametrize("far", [False, True], ids=["here", "there"])
def test_files_and_jobs_here_and_there(luthier: Luthier, url: str, far: bool, filled: Any, tmp_path: Path) -> None:
    more = ["--url", url] if far else []

    def said(*words: str) -> Any:
        answer = luthier(*words, "--json", *more)
        assert answer.code == 0, answer.err
        return json.loads(answer.out)

    path = filled.chats(tmp_path / "rows.jsonl")
    file = said("files", "upload", str(path), "--expires-after", "3600")["id"]
    assert said("files", "check", file)["status"] == "processed"
    assert said("files", "get", file, "--out", str(tmp_path / "back"))["facts"]["rows"] == 40
    assert (tmp_path / "back").read_bytes() == path.read_bytes()
    assert file in [one["id"] for one in said("files", "list", "--purpose", "fine-tune")]
    assert "rows.jsonl" in luthier("files", "list", *more).out
    job = said("jobs", "create", "all-minilm-l6-v2", file, "--metadata", "side=one", "--suffix", "mine", "-s", "priority=3", "--seed", "0")
    assert (job["seed"], job["user_provided_suffix"], job["metadata"]) == (0, "mine", {"side": "one"})
    assert job["luthier"]["priority"] == 3
    name = job["id"]
    assert name in [one["id"] for one in said("jobs", "list", "--metadata", "side=one")]
    assert said("jobs", "pause", name)["status"] == "paused"
    assert said("jobs", "resume", name)["status"] == "queued"
    refused = luthier("files", "delete", file, *more)
    assert refused.code == 1
    assert name in " ".join(refused.err.split())
    assert said("jobs", "cancel", name)["status"] == "cancelled"
    assert [one["message"] for one in said("jobs", "events", name, "--limit", "1")] == ["The job has been cancelled"]
    followed = luthier("jobs", "events", name, "--follow", *more)
    assert followed.code == 1, "a script sees that it did not end well"
    assert followed.out.splitlines()[0].endswith(f"Created fine-tuning job: {name}")
    assert said("jobs", "checkpoints", name) == []
    assert "cancelled" in luthier("jobs", "list", *more).out
    assert luthier("jobs", "get", name, *more).out.startswith(f"{name}  cancelled")
    assert luthier("jobs", "delete", name, *more) == Said(0, "", "")
    assert luthier("files", "delete", file, *more) == Said(0, "", "")


@pytest.mark.parametrize("far", [False, True], ids=["here", "there"])
def test_a_file_of_this_machine_is_uploaded_for_a_job(luthier: Luthier, url: str, far: bool, filled: Any, tmp_path: Path) -> None:
    more = ["--url", url] if far else []
    made = json.loads(luthier("jobs", "create", "minilm", str(filled.chats(tmp_path / "rows.jsonl")), "--json", *more).out)
    assert made["training_file"].startswith("file-")
    luthier("jobs", "cancel", made["id"], *more)
    (tmp_path / "bad.jsonl").write_text("{}\n" * 12, encoding="utf-8")
    refused = luthier("jobs", "create", "minilm", "bad.jsonl", *more)
    assert refused.code == 1
    assert "line 1" in refused.err
    checked = luthier("files", "upload", "bad.jsonl", "--json", *more)
    assert luthier("files", "check", json.loads(checked.out)["id"], *more).code == 1
    assert luthier("files", "upload", "nothere.jsonl", *more).code == 1
    assert luthier("jobs", "create", "minilm", "nothere.jsonl", *more).code == 1
    assert luthier("jobs", "list", "--metadata", "team", *more).code == 1


@pytest.mark.parametrize("far", [False, True], ids=["here", "there"])
def test_deploying_here_and_there(luthier: Luthier, url: str, far: bool, home: Service) -> None:
    more = ["--url", url] if far else []
    export = home.artifact("reviews", "export").id
    assert json.loads(luthier("deploy", "reviews", "-e", "more", "--json", *more).out) == {"endpoint": "more", "export": export}
    assert luthier("deploy", "minilm", "-e", "embed", *more).out == "embed answers with minilm\n"
    nothing = luthier("deploy", "nothing", "-e", "more", *more)
    assert nothing.code == 1
    assert "unknown model 'nothing'" in nothing.err or "unknown artifact 'nothing'" in nothing.err
    assert luthier("deploy", "reviews", "-e", "a b", *more).code == 1
    home.endpoints.get("more")
    assert luthier("endpoints", "--remove", "more", "--json", *more).code == 0
    assert [info.name for info in home.endpoints.list()] == ["support"]
