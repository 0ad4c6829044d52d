"""Intents and entities, and spans alone, from a file to an answer and a watched endpoint, each verb by its command, with a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests import spans
from tests.walk.test_walk import Said, _luthier, _sets, model

from luthier.store import files

__all__ = ["model"]
pytestmark = pytest.mark.long

LEARNS = {
    "train.method": "full", "train.epochs": 6, "train.learning_rate": 3e-3, "train.head_learning_rate": 1e-2, "train.fitted_head": False,
}  # fmt: skip
TEXT = "where is A0-77? also, please cancel B1-77, and send C2-77 to Oslo instead"


def _walked(folder: Path, model: Path, task: str, rows: list[dict[str, Any]], **more: Any) -> dict[str, Said]:
    """What each verb said, until one fails."""
    (folder / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    luthier, said = _luthier(folder), {}
    for verb, words in (
        ("prepare", ["asked.jsonl", "--model", str(model), "--set", f"task={task}", "--json"]),
        ("train", ["asked", *_sets(**LEARNS), "--json"]),
        ("evaluate", ["asked", *_sets(**{"evaluate.folds": 2}, **more), "--json"]),
        ("export", ["asked", "--set", "export.runtimes=[onnx,onnx-int8]", "--set", "export.max_label_change=1",
                    "--set", "export.max_metric_loss=1", "--set", "export.latency_seconds=0.02", "--json"]),
        ("deploy", ["asked", "--endpoint", "asked"]),
        ("ask", ["asked", TEXT, "--json"]),
        ("watch", ["asked", "--once", "--json"]),
    ):  # fmt: skip
        said[verb] = luthier(verb, *words)
        if said[verb].code:
            break
    return said


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, model: Path) -> dict[str, Said]:
    folder = tmp_path_factory.mktemp("understanding")
    return _walked(folder, model, "intent-entities", spans.rows(220, several=True, outside=True))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, model: Path) -> dict[str, Said]:
    folder = tmp_path_factory.mktemp("spans")
    rows = [{"text": row["text"], "spans": row["entities"]} for row in spans.rows(160, several=True)]
    return _walked(folder, model, "token-classification", rows, **{"evaluate.baselines": "[from-scratch]"})


def _evaluation(said: dict[str, Said]) -> dict[str, Any]:
    found: dict[str, Any] = files.read_json(Path(said["evaluate"].last["path"]) / "evaluation.json")
    return found


def test_intents_and_entities_go_the_whole_way(both: dict[str, Said]) -> None:
    for verb, said in both.items():
        assert said.code == 0, (verb, said.err[-3000:])
    schema = files.read_json(Path(both["prepare"].last["path"]) / "schema.json")
    assert (schema["labels"], schema["entities"], schema["outside"]) == (["address", "cancel", "track"], ["city", "item", "order"], True)
    (answer,) = json.loads(both["ask"].out)
    assert set(answer) >= {"id", "intents", "entities", "confidence", "abstained", "out_of_scope"}
    assert all(0 <= part["start"] < part["end"] <= len(TEXT) for part in (*answer["intents"], *answer["entities"]))


def test_its_evaluation_has_every_figure(both: dict[str, Said]) -> None:
    evaluation = _evaluation(both)
    wanted = {
        "joint_accuracy", "accuracy", "macro_f1", "entity_f1", "entity_partial_f1", "entity_macro_f1", "intent_set_accuracy",
        "multi_intent_accuracy", "in_scope_accuracy", "out_of_scope_recall", "out_of_scope_roc_auc", "ece",
    }  # fmt: skip
    assert wanted <= set(evaluation["scores"])
    assert evaluation["scores"]["entity_f1"]["value"] > 0.5, "six epochs teach a tiny model where numbers and cities stand"
    assert {"low", "high"} <= set(evaluation["scores"]["entity_f1"])
    assert evaluation["cross_validation"]["scores"]["joint_accuracy"]["values"]
    assert [row["name"] for row in evaluation["comparison"]] == ["majority", "this model"]
    calibration = files.read_json(Path(both["evaluate"].last["path"]) / "calibration.json")
    assert {"tag_temperature", "out_of_scope_from", "thresholds"} <= set(calibration)


def test_its_graph_answers_like_the_model(both: dict[str, Said]) -> None:
    export = files.read_json(Path(both["export"].last["path"]) / "export.json")
    assert export["parity"]["onnx"]["logit_difference"] < 1e-3
    assert export["parity"]["onnx"]["label_change"] == 0
    assert export["parity"]["onnx-int8"]["metric"] == "joint_accuracy"


def test_spans_alone_go_the_whole_way(alone: dict[str, Said]) -> None:
    for verb, said in alone.items():
        assert said.code == 0, (verb, said.err[-3000:])
    evaluation = _evaluation(alone)
    assert evaluation["primary_metric"] == "entity_f1"
    assert evaluation["scores"]["entity_f1"]["value"] > 0.5
    (answer,) = json.loads(alone["ask"].out)
    assert all(set(part) == {"start", "end", "label", "confidence"} for part in answer["entities"])


def test_a_model_of_ones_own_masks_the_next_dataset(alone: dict[str, Said], model: Path) -> None:
    """``prepare.ner_model`` by the model's name: the kinds that are no personal data (an item, an order) stay."""
    folder = Path(alone["prepare"].last["path"]).parents[2]
    rows = [{"text": row["text"], "label": row["intents"][0]} for row in spans.rows(60, seed=9)]
    (folder / "next.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    said = _luthier(folder)("prepare", "next.jsonl", "--model", str(model), "--set", "prepare.ner_model=asked", "--json")
    assert said.code == 0, said.err[-3000:]
    report = files.read_json(Path(said.last["path"]) / "report.json")
    assert report["masking"]["counts"]["PLACE"] > 5
    assert set(report["masking"]["counts"]) == {"PLACE"}
