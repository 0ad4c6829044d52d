"""The walk of preference tuning: pairs in, a tiny decoder moved towards the preferred answers, judged beside the model that it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from luthier.app.service import Service
from luthier.core.errors import GateRefused
from luthier.core.spec import make_spec
from luthier.testing import made

TRAIN = {"epochs": 12, "learning_rate": 3e-3, "batch_tokens": 512, "patience": 0, "precision": "fp32", "threads": 1, "beta": 0.2}


def _pairs(count: int) -> list[dict[str, object]]:
    return [
        {
            "input": {"messages": row["messages"][:1]},
            "preferred_output": row["preferred_output"],
            "non_preferred_output": row["non_preferred_output"],
        }
        for row in made.rows(count)
    ]


@pytest.mark.long
def test_a_model_moves_towards_what_people_prefer(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _pairs(120)))
    recipe = {
        "name": "tiny",
        "task": "preference",
        "model": str(made.base(architecture="decoder")),
        "data": {"train": str(tmp_path / "pairs.jsonl")},
        "prepare": {"near_duplicates": 1.0},
        "train": TRAIN,
        "evaluate": {"bootstrap": 50, "written_rows": 4},
    }
    service = Service(str(tmp_path / "home"))
    plan = service.plan(make_spec(recipe))
    assert (plan.train.beta, plan.origins["train.beta"]) == (0.2, "recipe")
    dataset = service.prepare(plan)
    model = service.train(plan, dataset)
    files = {path.name for path in Path(model.path).iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "schema.json", "plan.json"} <= files
    found = json.loads((Path(service.evaluate(plan, model).path) / "evaluation.json").read_text())
    scores = found["scores"]
    assert scores["preference_accuracy"]["value"] > 0.8
    assert scores["reward_margin"]["value"] > 0
    assert {"low", "high"} <= scores["reward_margin"].keys()
    assert {"perplexity", "rouge_l", "bleu"} <= scores.keys()
    base = next(row for row in found["comparison"] if row["name"] == "untouched")
    assert base["scores"]["preference_accuracy"] == 0.5  # against itself nothing is gained
    assert base["gained"]["preference_accuracy"] > 0.3
    assert {row["target"] for row in found["written"]} <= set(made.LABELS)


def test_rows_that_are_no_pairs_stop_prepare_with_their_line_and_remedy(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [*_pairs(12), {"messages": made.rows(1)[0]["messages"]}]
    rows[4] = {**rows[4], "non_preferred_output": rows[4]["preferred_output"]}
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "name": "bad",
        "task": "preference",
        "model": str(made.base(architecture="decoder")),
        "data": {"train": str(tmp_path / "pairs.jsonl")},
    }
    service = Service(str(tmp_path / "home"))
    with pytest.raises(GateRefused, match=r"pairs\.jsonl:5: non_preferred_output: says the same as preferred_output") as caught:
        service.prepare(service.plan(make_spec(recipe)))
    assert "give two different answers" in caught.value.hint
    refused = [json.loads(line) for path in (tmp_path / "home").rglob("refused.jsonl") for line in path.read_text().splitlines()]
    assert [(one["line"], one["reason"]) for one in refused][-1] == (13, "is a chat, and the file holds preference pairs")
