"""The command line as a person meets it: what it prints, what it writes, and what it says when something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from luthier.app.service import Service
from luthier.cli import main
from luthier.core import registry
from luthier.core.events import read_event
from luthier.core.plan import Plan

RECIPE = """
data: {train: messages.csv, map: {text: body, label: topic}}
train: {method: head, effort: quick}
"""


class Said(NamedTuple):
    """How a command ended; texts with every run of white space as one space, since a terminal breaks lines where it likes."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return " ".join((self.out + " " + self.err).split())


Luthier = Callable[..., Said]


@pytest.fixture
def luthier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Luthier:
    """``luthier`` with these words, in a folder with a recipe and a file of messages, and no workspace yet."""
    rows = [f"message {number} about my {topic},{topic}" for topic in ("refund", "parcel") for number in range(20)]
    rows[0] = "write to jane.doe@example.com about my refund,refund"
    (tmp_path / "messages.csv").write_text("body,topic\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name, value in {"HF_HUB_OFFLINE": "1", "COLUMNS": "160"}.items():
        monkeypatch.setenv(name, value)
    for name in ("LUTHIER_HOME", "LUTHIER_DATABASE"):
        monkeypatch.delenv(name, raising=False)

    def call(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["luthier", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Said(int(ended.value.code or 0), captured.out, captured.err)

    return call


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def _values(text: str) -> list[Any]:
    """The JSON values that stand one after another in a text."""
    found, decoder, text = [], json.JSONDecoder(), text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].lstrip()
    return found


def test_models_says_what_can_be_used_here(luthier: Luthier) -> None:
    said = luthier("models", "--json")
    assert said.code == 0
    rows = {row["id"]: row for row in json.loads(said.out)}
    assert rows["all-minilm-l6-v2"]["usable"] is True
    assert "AZURE_OPENAI_ENDPOINT" in rows["gpt-4o"]["why_not"]
    assert {row["id"] for row in json.loads(luthier("models", "--usable", "--json").out)} == {i for i, row in rows.items() if row["usable"]}
    table = luthier("models", "--task", "text-classification")
    assert "all-minilm-l6-v2" in table.all
    assert "full lora top head" in table.all
    assert "resnet-18" not in table.all


def test_plugins_lists_every_room(luthier: Luthier) -> None:
    said = luthier("plugins", "--json")
    assert json.loads(said.out) == {room: registry.names(room) for room in registry.ROOMS}
    table = luthier("plugins").all
    for name in ("text-classification", "onnx-int8", "majority", "terminal"):
        assert name in table


def test_plan_shows_every_value_and_its_origin(luthier: Luthier) -> None:
    said = luthier("plan", "recipe.yaml", "--set", "train.epochs=3", "-s", "train.weight_decay=1e-4")
    assert said.code == 0
    for part in ("train.epochs 3 recipe", "train.batch_tokens 256 method head, effort quick", "prepare.seed 13 default", "0.0001 recipe"):
        assert part in said.all, part


def test_plan_as_json_is_a_plan(luthier: Luthier) -> None:
    said = luthier("plan", "recipe.yaml", "-s", "train.learning_rate=1e-4", "--json")
    plan = Plan.model_validate_json(said.out)
    assert plan.train.learning_rate == 1e-4
    assert plan.origins["train.learning_rate"] == "recipe"
    assert plan.name == "recipe"
    assert Path(plan.data.train[0]).name == "messages.csv"


def test_a_dry_run_shows_the_plan_and_writes_nothing(luthier: Luthier, tmp_path: Path) -> None:
    before = _files(tmp_path)
    said = luthier("run", "recipe.yaml", "--dry-run")
    assert said.code == 0
    assert "plan recipe: text-classification with all-minilm-l6-v2" in said.all
    assert "train.method head recipe" in said.all
    assert "prepare.seed" not in said.all, "what was only defaulted is not shown"
    assert _files(tmp_path) == before


def test_a_dry_prepare_reads_and_masks_and_writes_nothing(luthier: Luthier, tmp_path: Path) -> None:
    before = _files(tmp_path)
    said = luthier("prepare", "messages.csv", "--map", "text=body label=topic", "--dry-run")
    assert said.code == 0
    found = json.loads(said.out)
    assert found["rows"] == 40
    assert found["labels"] == {"refund": 20, "parcel": 20}
    assert sum(found["masked"].values()) == 1
    assert "jane.doe" not in said.out
    assert _files(tmp_path) == before


def test_prepare_as_json_says_every_event_and_then_what_it_made(luthier: Luthier) -> None:
    said = luthier("prepare", "messages.csv", "--map", "text=body", "--map", "label=topic", "--json")
    assert said.code == 0
    *events, made = _values(said.out)
    assert {read_event(event).name for event in events} >= {"job.moved", "stage.progressed", "stage.finished", "artifact.written"}
    assert made["kind"] == "dataset"
    assert Path(made["path"]).is_dir()
    rows = json.loads(luthier("artifacts", "--json").out)
    assert [(row["id"], row["name"]) for row in rows] == [(made["id"], "messages")]
    assert made["id"] in luthier("artifacts", "--kind", "dataset").all


@pytest.mark.parametrize("command", ["artifacts", "runs", "endpoints"])
def test_an_empty_workspace_lists_nothing(luthier: Luthier, command: str) -> None:
    assert json.loads(luthier(command, "--json").out) == []
    assert luthier(command).code == 0


@pytest.mark.parametrize(
    ("words", "message", "remedy"),
    [
        (["run", "recipe.yaml", "-s", "model=all-minilm-l6-v3"], "unknown model 'all-minilm-l6-v3'", "did you mean 'all-minilm-l6-v2'"),
        (["run", "recipe.yaml", "-s", "train.method=heads"], "train.method: unknown method 'heads'", "did you mean 'head'"),
        (["run", "recipe.yaml", "-s", "train.epoch=3"], "train.epoch: there is no such field", "did you mean 'epochs'"),
        (["run", "recipe.yaml", "-s", "train.epochs=-3"], "train.epochs: Input should be greater than 0 (got -3)", "docs/recipes.md"),
        (["run", "recipe.yaml", "-s", "train.epochs"], "'train.epochs' is not a setting", "train.epochs=3"),
        (["run", "nothere.yaml"], "nothere.yaml: there is no such recipe", "recipes/support-intents.yaml"),
        (["run", "messages.csv"], "messages.csv: a recipe is a mapping", "docs/recipes.md"),
        (["run", "recipe.yaml", "-s", "data.train=nothere.csv"], "nothere.csv: there is no such file", "give a path"),
        (["plan", "recipe.yaml", "-s", "model=gpt2"], "'gpt2' is a decoder model", "all-minilm-l6-v2"),
        (["prepare", "messages.csv", "--model", "all-minilm-l7"], "unknown model 'all-minilm-l7'", "all-minilm-l6-v2"),
        (["prepare", "nothere.csv"], "nothere.csv: there is no such file", "give a path"),
        (["prepare", "message.csv", "--dry-run"], "message.csv: there is no such file", "did you mean 'messages.csv'"),
        (["train", "nothing"], "unknown dataset 'nothing'", "there is no dataset yet"),
        (["evaluate", "nothing"], "unknown model 'nothing'", "there is no model yet"),
        (["deploy", "nothing", "-e", "support"], "unknown model 'nothing'", "there is no model yet"),
        (["ask", "support", "hello"], "unknown endpoint 'support'", "there is no endpoint yet"),
        (["watch", "support", "--once"], "unknown endpoint 'support'", "there is no endpoint yet"),
        (["endpoints", "--remove", "support"], "unknown endpoint 'support'", "there is no endpoint yet"),
        (["feedback", "support", "1", "--thumbs", "up"], "unknown endpoint 'support'", "there is no endpoint yet"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_a_sentence_and_a_remedy(luthier: Luthier, words: list[str], message: str, remedy: str) -> None:
    said = luthier(*words)
    assert said.code == 1
    assert "error (" in said.all
    assert message in said.all
    assert "→" in said.all
    assert remedy in said.all.split("→", 1)[1]
    assert "Traceback" not in said.all


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["run"], ["plan", "recipe.yaml", "--nonsense"], ["models", "--usable=maybe"], ["watch", "support", "--window-s", "0"]],
)
def test_a_wrong_call_is_code_2(luthier: Luthier, words: list[str]) -> None:
    said = luthier(*words)
    assert said.code == 2
    assert said.err
    assert "Traceback" not in said.all


@pytest.mark.parametrize("words", [[], ["--keep-text"]])
def test_serve_keeps_texts_only_when_it_is_told(luthier: Luthier, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr("luthier.api.serve", lambda service, **options: given.update(options))
    assert luthier("serve", "--port", "0", *words).code == 0
    assert given["keep_text"] is bool(words)
    assert given["samples"].name == "samples"


def test_ctrl_c_is_code_130_and_no_traceback(luthier: Luthier, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Service, "plan", stopped)
    said = luthier("run", "recipe.yaml")
    assert said.code == 130
    assert "goes on where it was" in said.all
    assert "Traceback" not in said.all


def test_a_workspace_that_cannot_be_one_is_an_error(luthier: Luthier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTHIER_HOME", str(tmp_path / "messages.csv"))
    said = luthier("runs")
    assert said.code == 1
    assert "cannot be a workspace" in said.all
    assert "LUTHIER_HOME" in said.all.split("→", 1)[1]


def test_as_a_command_of_its_own_it_says_errors_on_standard_error(luthier: Luthier, tmp_path: Path) -> None:
    """The same through a real process: nothing on standard output, code 1, no traceback."""
    command = [sys.executable, "-c", "from luthier.cli import main; main()", "run", "recipe.yaml", "-s", "model=all-minilm-l6-v3", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "did you mean 'all-minilm-l6-v2'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"id": "1", "label": "refund", "confidence": 0.9, "out_of_scope": 0.1}, "refund"),
        ({"id": "1", "labels": ["a", "b"], "confidence": 0.9}, "a, b"),
        ({"id": "1", "intents": [{"label": "track"}], "entities": [{"label": "order"}], "confidence": 0.5}, "track; order"),
        ({"id": "1", "caption": "a red cap"}, "a red cap"),
        ({"id": "1", "message": {"role": "assistant", "content": "Hello"}}, "Hello"),
    ],
)
def test_an_answer_is_shown_whatever_the_task_calls_it(answer: dict[str, Any], said: str) -> None:
    from luthier.cli.commands import _said

    assert _said(answer) == said
