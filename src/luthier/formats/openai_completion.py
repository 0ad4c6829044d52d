"""Prompt/completion JSONL, as OpenAI's older fine-tuning took it, read as conversations of one question: for tasks that want messages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luthier.core.errors import RowError
from luthier.core.ports import BadRow, Row
from luthier.formats._rows import converted
from luthier.formats.jsonl import read_objects

PROMPT, COMPLETION = "prompt", "completion"


def conversation(values: dict[str, Any]) -> dict[str, Any]:
    """``{messages, ...other keys}``: the prompt said by the user, the completion answered. Raises ``RowError`` where one is no text."""
    for field in (PROMPT, COMPLETION):
        said = values.get(field)
        if not isinstance(said, str) or not said.strip():
            raise RowError(field, "is missing or empty" if not said else "is no text", 'write {"prompt": "...", "completion": "..."}')
    messages = [{"role": "user", "content": values[PROMPT].strip()}, {"role": "assistant", "content": values[COMPLETION].strip()}]
    return {"messages": messages} | {key: value for key, value in values.items() if key not in (PROMPT, COMPLETION, "messages")}


class OpenaiCompletion:
    """See the module."""

    name = "openai-completion"
    summary = "prompt/completion JSONL, as conversations of one question"
    suffixes = (".jsonl",)
    makes = ("messages",)
    """Only for tasks that want these; to a classifier the same file is a table."""

    def sniff(self, path: Path, head: bytes) -> float:
        """Sure when the first line is an object with a prompt and a completion."""
        first = head.lstrip().split(b"\n", 1)[0]
        return 0.9 if first.startswith(b"{") and b'"prompt"' in first and b'"completion"' in first else 0.0

    def rows(self, path: Path, *, encoding: str = "", delimiter: str = "") -> Iterator[Row | BadRow]:
        """Rows with ``messages``; a line without a prompt or a completion is a ``BadRow``."""
        return (converted(row, conversation) for row in read_objects(path, encoding))


plugin = OpenaiCompletion()
