"""The whole stage on a tiny made-up model: every file is there, the figures agree, and a second try reuses finished parts."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luthier.core import registry
from luthier.core.errors import InputError, SpecError
from luthier.core.events import Event, GateDecided
from luthier.core.job import Job
from luthier.core.plan import EvaluatePlan, Plan, TrainPlan
from luthier.core.types import Example, content_id
from luthier.stages import evaluate
from luthier.stages.evaluate import predictions, report, stage
from luthier.stages.evaluate.subject import Subject
from luthier.store import datasets, files
from luthier.tasks.text_classification import plugin as task

WORDS = {
    "billing": ["invoice", "charge", "payment"],
    "shipping": ["parcel", "courier", "delivery"],
    "account": ["password", "login", "email"],
}
FILLER = ["my", "the", "is", "where", "please", "help", "with", "wrong"]


def _examples(count: int, start: int) -> list[Example]:
    found = []
    for number in range(start, start + count):
        label = sorted(WORDS)[number % 3]
        text = f"{FILLER[number % 8]} {WORDS[label][number % 7 % 3]} {FILLER[number // 3 % 8]} <b>{number}"
        inputs = {"text": text}
        channel = ["chat", "mail"][number % 2]
        found.append(Example(content_id(inputs), inputs, label, source=f"rows.csv:{number + 2}", columns={"channel": channel}))
    return found


def _base(folder: Path) -> None:
    """A BERT of 20 thousand weights and a tokenizer of our words."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import BertConfig, BertModel

    words = ["[PAD]", "[UNK]", *FILLER, *(word for some in WORDS.values() for word in some)]
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    BertModel(config).save_pretrained(folder)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, a base model and a model trained on it for a few steps."""
    from luthier.stages.train.fit import fit
    from luthier.stages.train.request import FitRequest

    root = tmp_path_factory.mktemp("evaluate")
    _base(root / "base")
    splits = {"train": _examples(150, 0), "validation": _examples(30, 150), "test": _examples(60, 180)}
    for split, rows in splits.items():
        datasets.write_split(root / "dataset", split, rows)  # type: ignore[arg-type]
    schema = {**task.schema(row.target for row in splits["train"]), "max_tokens": 16}
    files.write_json(root / "dataset" / "schema.json", schema)
    plan = TrainPlan(method="head", epochs=12, batch_tokens=128, head_learning_rate=0.05)
    processor = task.processor(root / "base", schema)
    items = {split: task.encode(rows, processor, schema) for split, rows in splits.items()}
    result = fit(FitRequest(task, root / "base", schema, plan, items["train"], items["validation"], splits["validation"]))
    (root / "model").mkdir()
    task.save(result.model, root / "model")
    shutil.copy(root / "base" / "tokenizer.json", root / "model")
    files.write_json(root / "model" / "schema.json", schema)
    files.write_json(root / "model" / "training.json", {"steps": result.steps, "seconds": result.seconds, "flop": 1e6})
    return root


def _job(place: Path, work: Path, inputs: dict[str, str] | None = None, **settings: Any) -> Job:
    train = TrainPlan(method="head", epochs=12, batch_tokens=128, head_learning_rate=0.05)
    plan = Plan(name="tiny", task=task.name, model="tiny", train=train, evaluate=EvaluatePlan(**settings))
    known = {"dataset": str(place / "dataset"), "model": str(place / "model"), "base": str(place / "base"), **(inputs or {})}
    work.mkdir(parents=True, exist_ok=True)
    return Job(id="j", run="r", stage="evaluate", plan=plan, inputs=known, work=str(work))


def test_the_whole_stage(place: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    job = _job(place, tmp_path / "work", folds=2, bars={"accuracy": 0.6, "max_ece": 0.9}, bootstrap=200)
    summary = evaluate.run(job, events.append)
    out = tmp_path / "work" / "out"
    wanted = {"evaluation.json", "report.html", "predictions.parquet", "calibration.json", "reference.json", "reference.safetensors"}
    assert {path.name for path in out.iterdir()} == wanted
    found = json.loads((out / "evaluation.json").read_text())
    kept = predictions.read(out / "predictions.parquet", {})
    right = sum(p.output == e.target for p, e in zip(kept.predictions, kept.examples, strict=True))
    assert found["scores"]["accuracy"]["value"] == pytest.approx(right / 60)
    assert found["scores"]["accuracy"]["low"] <= right / 60 <= found["scores"]["accuracy"]["high"]
    assert [row["name"] for row in found["comparison"]] == ["majority", "tfidf-logistic", "nearest-centroid", "from-scratch", "this model"]
    majority = found["comparison"][0]
    assert majority["scores"]["accuracy"] == pytest.approx(20 / 60)
    assert majority["gained"]["accuracy"] == pytest.approx(right / 60 - 20 / 60)
    assert found["comparison_rule"] == "every contender gives its likeliest class"
    assert found["comparison_rule"] in (out / "report.html").read_text()
    assert found["cross_validation"]["folds"] == 2
    assert found["cross_validation"]["rows"] == 180
    assert sum(found["figures"]["confusion"]["matrix"][k][k] for k in range(3)) == right
    assert summary["gate_passed"] == found["gate"]["passed"]
    assert any(isinstance(event, GateDecided) for event in events)
    _second_try(job, out, found)
    _against_itself(place, tmp_path, out, found)


def _second_try(job: Job, out: Path, found: dict[str, Any]) -> None:
    """As after a kill before the end: finished parts are not run again and every figure is the same."""
    parts = Path(job.work) / "parts"
    stamps = {path: path.stat().st_mtime_ns for path in parts.glob("*/facts.json")}
    assert len(stamps) == 7
    shutil.rmtree(parts / "fold-1")
    shutil.rmtree(out)
    evaluate.run(job, lambda event: None)
    again = json.loads((out / "evaluation.json").read_text())
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items() if "fold-1" not in str(path))
    assert again["scores"] == found["scores"]
    assert again["cross_validation"]["scores"] == found["cross_validation"]["scores"]


def _against_itself(place: Path, tmp_path: Path, out: Path, found: dict[str, Any]) -> None:
    """A model against its own earlier evaluation: no difference, and the gate sees no drop."""
    inputs = {"earlier": str(out), "current": str(out)}
    job = _job(place, tmp_path / "again", inputs, baselines=["majority"], bootstrap=100)
    evaluate.run(job, lambda event: None)
    again = json.loads((tmp_path / "again" / "out" / "evaluation.json").read_text())
    assert again["earlier"]["rows"] == 60
    assert again["earlier"]["difference"] == 0
    assert again["gate"]["passed"]
    assert "0.000 lost" in again["gate"]["reasons"][0]
    assert again["cross_validation"] == {}
    page = (out / "report.html").read_text()
    assert "What fine-tuning bought" in page
    assert not re.search(r"(src|href)\s*=|url\(|@import|https?://", page)  # opens without a network
    if found["mistakes"]:
        assert "<b>1" not in page  # text from data is escaped
    assert report.bought(found)


def _twins(monkeypatch: pytest.MonkeyPatch, *, several: bool, tuned: dict[str, Any], costs: dict[str, Any]) -> Any:
    """A model's answers, and its comparison with a baseline that says exactly the same."""
    random = np.random.default_rng(0)
    right = random.random((80, 2)) < 0.3
    outputs, facts = {"logits": random.normal(size=right.shape) + 3.0 * right - 3.0}, {"train_s": 1.0, "predict_s": 1.0, "train_flop": 1.0}
    answers: list[Any] = [["pq"[k] for k in np.flatnonzero(row)] for row in right] if several else ["pq"[int(row[1])] for row in right]
    plan = EvaluatePlan(baselines=["majority"], bootstrap=50, costs=costs)
    job = Job(id="j", run="r", stage="evaluate", plan=Plan(name="n", task=task.name, model="m", evaluate=plan), work="w")
    subject = Subject(job, task, Path(), Path(), {"labels": ["p", "q"], "multi_label": several}, {})
    monkeypatch.setattr(stage, "read_result", lambda folder: (outputs, facts))
    judged = subject.judged([Example(str(n), {"text": "t"}, answer) for n, answer in enumerate(answers)], outputs, tuned)
    return judged, stage._comparison(subject, judged, 0.1)


@pytest.mark.parametrize("several", [True, False], ids=["tuned thresholds", "costs"])
def test_all_contenders_decide_by_one_rule(monkeypatch: pytest.MonkeyPatch, several: bool) -> None:
    """A baseline with the model's own chances is no worse than the model."""
    costs = {} if several else {"q": {"p": 20.0}}
    tuned = {"thresholds": {"p": 0.2, "q": 0.2}} if several else {"costs": costs, "temperature": 3.0}
    judged, rows = _twins(monkeypatch, several=several, tuned=tuned, costs=costs)
    assert set(rows[0]["gained"].values()) == {0.0}
    assert rows[0]["test"]["only_first_right"] == rows[0]["test"]["only_second_right"] == 0
    if several:
        assert rows[-1]["scores"]["accuracy"] != registry.get("metrics", "accuracy").compute(judged)[0].value


def test_what_cannot_be_evaluated_is_said_before_anything_runs(place: Path, tmp_path: Path) -> None:
    for settings, said in (({"costs": {"biling": {"account": 2.0}}}, "unknown label 'biling'"), ({"folds": 500}, "500 folds need 500")):
        job = _job(place, tmp_path / "work", **settings)
        with pytest.raises(SpecError, match=said):
            evaluate.run(job, lambda event: None)
        assert not (tmp_path / "work" / "parts").exists()


def test_no_test_rows_is_said(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "dataset", tmp_path / "dataset")
    datasets.write_split(tmp_path / "dataset", "test", [])
    job = _job(place, tmp_path / "work", {"dataset": str(tmp_path / "dataset")})
    with pytest.raises(InputError, match=r"test\.parquet: there is no row"):
        evaluate.run(job, lambda event: None)
