"""What a conversation becomes: rules of OpenAI's files, which tokens are learned, what is masked, how calls of tools are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luthier.core.edits import Edit
from luthier.core.errors import InputError, RowError
from luthier.core.types import Place, Prediction
from luthier.tasks import _written
from luthier.tasks.chat import message, plugin
from luthier.testing import made

HERE = Place("chats.jsonl", 7)
CHATML = "{% for m in messages %}[{{ m.role }}] {{ m.content }} account {% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _said(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base with a chat template of its own."""
    import shutil

    place = tmp_path_factory.mktemp("chat") / "base"
    shutil.copytree(made.base(architecture="decoder"), place)
    (place / "chat_template.jinja").write_text(CHATML)
    (place / "tokenizer_config.json").write_text(json.dumps({"eos_token": "account"}))
    return place


def _item(folder: Path, row: dict[str, Any], **schema: Any) -> tuple[Any, Any]:
    example = plugin.example(row, HERE)
    form = plugin.schema([example.target]) | schema
    processor = plugin.processor(folder, form)
    return plugin.encode([example], processor, form)[0], processor


@pytest.mark.parametrize(
    ("row", "field", "remedy"),
    [
        ({"messages": []}, "messages", "one message"),
        ({"messages": [{"role": "asistant", "content": "x"}]}, "messages[0].role", "'assistant'"),
        ({"messages": [_user("hello"), _said("")]}, "messages[1].content", "said"),
        ({"messages": [{"role": "system", "content": "be kind"}]}, "messages", "add one"),
        ({"messages": [{"role": "system", "content": "be kind"}, _said("hello")]}, "messages", "'user'"),
        ({"messages": [_user("hello"), _said("x", weight=2)]}, "messages[1].weight", "0"),
        ({"messages": [_user("hello"), _said("x", weight=0)]}, "messages", "weight 1"),
        ({"messages": [_user("hello"), _said("x")], "tools": [{"type": "function"}]}, "tools[0].function", "name"),
        ({"messages": "[{"}, "messages", "JSON"),
    ],
)
def test_rows_that_cannot_be_learned_from(row: dict[str, Any], field: str, remedy: str) -> None:
    with pytest.raises(RowError) as caught:
        plugin.example(row, HERE)
    assert caught.value.field == field
    assert remedy in caught.value.remedy


def test_only_what_the_assistant_says_is_learned(folder: Path) -> None:
    talk = [_user("where is refund"), _said("still slow", weight=0), _user("hello"), _said("thanks again"), _user("please"), _said("today")]
    item, processor = _item(folder, {"messages": talk})
    learned = [one for one, mark in zip(item["input_ids"], item["loss_mask"], strict=True) if mark]
    assert processor.decode(learned, skip_special_tokens=False).split() == ["thanks", "again", "account", "today", "account"]
    assert np.array_equal(item["labels"] != -100, item["loss_mask"] == 1)
    prompt = processor.decode(item["input_ids"][: item["prompt"][0]], skip_special_tokens=False)
    assert "please" in prompt
    assert "today" not in prompt
    assert processor.tokenizer.token_to_id("account") in plugin.stops(processor, {})


def test_what_follows_the_last_learned_answer_is_not_read(folder: Path) -> None:
    talk = [_user("hello"), _said("today"), _user("slow"), _said("broken", weight=0)]
    item, processor = _item(folder, {"messages": talk})
    assert "broken" not in processor.decode(item["input_ids"], skip_special_tokens=False)


def test_a_conversation_that_is_too_long_loses_its_beginning(folder: Path) -> None:
    talk = [_user("broken " * 40), _said("slow"), _user("hello"), _said("today")]
    item, processor = _item(folder, {"messages": talk}, max_tokens=20)
    text = processor.decode(item["input_ids"], skip_special_tokens=False)
    assert len(item["input_ids"]) == 20
    assert text.split()[-2:] == ["today", "account"]
    item, _ = _item(folder, {"messages": [_user("hello " * 30), _said("slow " * 30)]}, max_tokens=20)
    assert len(item["input_ids"]) == 20
    assert item["loss_mask"].sum() == 10


def test_every_message_is_masked_and_the_answer_too() -> None:
    example = plugin.example({"messages": [_user("i am Ann"), _said("hi Bob"), _user("Ann again"), _said("bye Ann")]}, HERE)
    text = plugin.maskable(example)
    starts = [place for place in range(len(text)) if text.startswith("Ann", place)]
    changed = plugin.with_edits(example, [Edit(start, start + 3, "<NAME_1>") for start in starts])
    assert plugin.maskable(changed) == text.replace("Ann", "<NAME_1>")
    assert changed.target["content"] == "bye <NAME_1>"
    assert [one["content"] for one in changed.inputs["messages"]] == ["i am <NAME_1>", "hi Bob", "<NAME_1> again"]
    assert changed.id != example.id
    assert "bye" not in plugin.text(example)


@pytest.mark.parametrize(("start", "end"), [(0, 2), (3, 4), (2, 6), (5, 9), (0, 11)])
def test_edits_over_a_border_touch_what_lies_within(start: int, end: int) -> None:
    pieces = ["abcd", "efghi"]  # joined: abcd\n\nefghi
    found = _written.edited_pieces(pieces, [Edit(start, end, "X")])
    joined = "abcd\n\nefghi"
    kept = [c for place, c in enumerate(joined) if not start <= place < end and c != "\n"]
    assert "".join(found).replace("X", "") == "".join(kept)
    assert "".join(found).count("X") == 1


def test_calls_of_tools_are_read_from_the_text() -> None:
    found = message('Let me look.\n<tool_call>{"name": "track", "arguments": {"id": "7"}}</tool_call>')
    assert found["content"] == "Let me look."
    assert found["tool_calls"][0]["function"] == {"name": "track", "arguments": '{"id": "7"}'}
    assert message('<tool_call>{"name": "a", "arguments": "{}"}</tool_call>')["content"] is None
    assert message("<tool_call>{oops}</tool_call>") == {"role": "assistant", "content": "<tool_call>{oops}</tool_call>"}
    assert message("") == {"role": "assistant", "content": ""}


def test_requests_and_answers() -> None:
    (example,) = plugin.request({"messages": [_user("hello")], "tools": []})
    assert example.inputs == {"messages": [_user("hello")]}
    with pytest.raises(InputError, match=r"messages\[0\]\.role"):
        plugin.request({"messages": [{"role": "x", "content": "y"}]})
    assert plugin.answer(Prediction("1", "ok", 1.0))["message"]["content"] == "ok"


def test_a_base_without_a_template_gets_a_named_one() -> None:
    example = plugin.example({"messages": [_user("hello"), _said("today")]}, HERE)
    processor = plugin.processor(made.base(architecture="decoder"), {})
    assert processor.template.name == "plain-turns"
    item = plugin.encode([example], processor, {"max_tokens": 64})[0]
    assert item["input_ids"][item["loss_mask"] == 1][-1] == processor.stops[0]
    assert "".join(one.text for one in plugin.segments(example, processor, {})) == "User: hello\n\nAssistant: today\n\n"
