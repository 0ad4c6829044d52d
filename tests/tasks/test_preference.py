"""What a preference pair becomes: one prompt, two answers of which all is learned, an id of all of it, DPO's loss."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from luthier.core.edits import Edit
from luthier.core.errors import RowError
from luthier.core.plan import TrainPlan
from luthier.core.types import Example, Place
from luthier.stages.inference import predict
from luthier.stages.train.reference import compared
from luthier.stages.writing import prompt_of
from luthier.tasks.preference import plugin
from luthier.testing import made

HERE = Place("pairs.jsonl", 7)
BASE = made.base(architecture="decoder")


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _example(better: str = "today", worse: str = "slow broken slow", asked: str = "where is refund") -> Example:
    earlier = [_user("hello"), _said("thanks"), _user(asked)]
    return plugin.example({"messages": earlier, "preferred_output": [_said(better)], "non_preferred_output": [_said(worse)]}, HERE)


def _item(example: Example, **schema: Any) -> tuple[Any, Any]:
    form = plugin.schema([example.target]) | schema
    processor = plugin.processor(BASE, form)
    return plugin.encode([example], processor, form)[0], processor


def test_both_answers_follow_one_prompt_and_earlier_ones_are_only_read() -> None:
    item, processor = _item(_example())
    learned = item["input_ids"][item["loss_mask"] == 1]
    assert learned.tolist() == [processor.tokenizer.token_to_id("today"), processor.stops[0]]
    other = item["rejected_ids"][item["rejected_mask"] == 1]
    assert processor.decode(other[:-1]).split() == ["slow", "broken", "slow"]
    assert other[-1] == processor.stops[0]
    prompt = int(item["prompt"][0])
    assert np.array_equal(item["input_ids"][:prompt], item["rejected_ids"][:prompt])
    assert np.array_equal(item["labels"] != -100, item["loss_mask"] == 1)
    assert plugin.length(item) == len(item["input_ids"]) + len(item["rejected_ids"])
    bare = plugin.encode([replace(_example(), target=None)], processor, {"max_tokens": 64})[0]
    assert bare["input_ids"].tolist() == prompt_of(item)


def test_a_prompt_that_is_too_long_is_cut_for_both() -> None:
    item, processor = _item(_example(asked="broken " * 50 + "please"), max_tokens=24)
    prompt = int(item["prompt"][0])
    assert len(item["rejected_ids"]) == 24
    assert np.array_equal(item["input_ids"][:prompt], item["rejected_ids"][:prompt])
    assert "please" in processor.decode(item["input_ids"][:prompt])
    item, _ = _item(_example(better="slow " * 90, asked="please " * 90), max_tokens=24)
    assert (len(item["input_ids"]), int(item["loss_mask"].sum())) == (24, 12)


def test_texts_are_taken_for_messages() -> None:
    plain = plugin.example(
        {"messages": "hi", "preferred_output": "hello", "non_preferred_output": '[{"role":"assistant","content":"?"}]'}, HERE
    )
    assert plain.inputs == {"messages": [_user("hi")]}
    assert plain.target == {"content": "hello", "preferred": [_said("hello")], "non_preferred": [_said("?")]}
    with pytest.raises(RowError, match="non_preferred_output: is missing"):
        plugin.example({"messages": "hi", "preferred_output": "hello", "non_preferred_output": " "}, HERE)


def test_every_text_is_masked_and_the_id_follows_both_answers() -> None:
    example = _example(better="bye Ann", worse="who is Ann", asked="i am Ann")
    text = plugin.maskable(example)
    starts = [place for place in range(len(text)) if text.startswith("Ann", place)]
    changed = plugin.with_edits(example, [Edit(start, start + 3, "<NAME_1>") for start in starts])
    assert len(starts) == 3
    assert plugin.maskable(changed) == text.replace("Ann", "<NAME_1>")
    assert changed.target["content"] == "bye <NAME_1>"
    assert changed.target["non_preferred"][0]["content"] == "who is <NAME_1>"
    again = _example(better="bye <NAME_1>", worse="who is <NAME_1>", asked="i am <NAME_1>")
    assert changed.id == again.id != example.id
    assert _example(worse="late").id != _example(worse="never").id
    assert "who is" not in plugin.text(example)


def test_dpos_loss_and_what_the_start_model_said() -> None:
    examples = [_example(), _example("refund", "account"), _example("delivery please", "broken")]
    schema = plugin.schema([one.target for one in examples])
    items = plugin.encode(examples, plugin.processor(BASE, schema), schema)
    model = plugin.load(BASE, schema).eval()
    known = compared(plugin, model, items)
    outputs = predict(plugin, model, known)
    assert np.array_equal(outputs["rejected_loss_sum"] - outputs["loss_sum"], outputs["reference"])
    assert set(plugin.collate(known)) - set(plugin.collate(items)) == {"reference"}
    assert len({round(float(item["reference"][0]), 4) for item in known}) == 3
    bare = plugin.encode([replace(one, target=None) for one in examples], plugin.processor(BASE, schema), schema)
    assert compared(plugin, model, bare)[0].keys() == bare[0].keys()
    said = {name: torch.as_tensor(value) for name, value in outputs.items()}
    assert float(plugin.loss(said, {}, schema, TrainPlan(beta=0.3), None)) == pytest.approx(math.log(2))
    said["rejected_loss_sum"] = said["rejected_loss_sum"] + torch.tensor([1.0, 2.0, 0.0])
    wanted = np.mean([math.log1p(math.exp(-0.3 * gain)) for gain in (1, 2, 0)])
    assert float(plugin.loss(said, {}, schema, TrainPlan(beta=0.3), None)) == pytest.approx(wanted, rel=1e-5)
