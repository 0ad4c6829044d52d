"""OpenAI's preference files: known by their keys, and rows of another kind or without an answer refused by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from luthier.core import registry
from luthier.core.ports import BadRow, Row
from luthier.stages.prepare import sources

CHAT = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}
PAIR = {
    "input": {
        "messages": CHAT["messages"][:1],
        "tools": [{"type": "function", "function": {"name": "track"}}],
        "parallel_tool_calls": True,
    },
    "preferred_output": [{"role": "assistant", "content": "hello"}],
    "non_preferred_output": [{"role": "assistant", "content": "what?"}],
}


def _file(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("rows", [(PAIR, CHAT), (CHAT, PAIR)])
def test_a_file_of_two_kinds_is_read_as_pairs_by_their_task_alone(tmp_path: Path, rows: Any) -> None:
    path = _file(tmp_path, *rows)
    columns = [one.name for one in registry.get("tasks", "preference").columns]
    assert sources._sniff(path, path.read_bytes(), columns) == "openai-preference"
    assert sources._sniff(path, path.read_bytes(), ("messages", "tools")) == "jsonl"


def test_a_chat_that_talks_of_such_keys_is_none(tmp_path: Path) -> None:
    path = _file(tmp_path, {"messages": [{"role": "user", "content": 'what is {"preferred_output": []}?'}]})
    assert registry.get("formats", "openai-preference").sniff(path, path.read_bytes()) == 0


def test_rows_and_what_is_wrong_with_them(tmp_path: Path) -> None:
    lone = {key: value for key, value in PAIR.items() if key != "non_preferred_output"}
    good, chat, half, odd = registry.get("formats", "openai-preference").rows(_file(tmp_path, PAIR, CHAT, lone, {"text": "a"}))
    assert isinstance(good, Row)
    assert good.values == {
        "messages": CHAT["messages"][:1],
        "tools": PAIR["input"]["tools"],
        "preferred_output": PAIR["preferred_output"],
        "non_preferred_output": PAIR["non_preferred_output"],
    }
    assert isinstance(chat, BadRow)
    assert (chat.line, chat.reason) == (2, "is a chat, and the file holds preference pairs")
    assert "keep one kind of row" in chat.remedy
    assert isinstance(half, BadRow)
    assert (half.line, half.field, half.reason) == (3, "non_preferred_output", "is missing")
    assert isinstance(odd, BadRow)
