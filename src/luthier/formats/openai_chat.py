"""OpenAI chat JSONL: ``{"messages": [...]}`` a line; the text is what the user said, the label is the assistant's last reply."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luthier.core.errors import RowError
from luthier.core.ports import BadRow, Row
from luthier.formats.jsonl import read_objects

ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def _content(message: dict[str, Any], place: str) -> str:
    content = message.get("content")
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        odd = next((part for part in parts if part is not None and not isinstance(part, str)), None)
        content = "\n".join(part or "" for part in parts) if odd is None else odd
    if content is None:
        return ""
    if not isinstance(content, str):
        raise RowError(f"{place}.content", f"is {type(content).__name__}, not text", "write the message as a string")
    return content


def chat(values: dict[str, Any]) -> dict[str, Any]:
    """``{text, label, ...other keys}``: the assistant's last reply, and what the user said before it, joined by newlines.

    The system prompt is dropped, and so is what the user said after that reply: the answer cannot have known it.
    """
    messages = values.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RowError("messages", "is missing or empty", 'write {"messages": [{"role": "user", "content": "..."}, ...]}')
    said: list[str] = []
    text = reply = ""
    asked = False
    for number, message in enumerate(messages):
        place = f"messages[{number}]"
        if not isinstance(message, dict):
            raise RowError(place, "is not an object", 'write {"role": "user", "content": "..."}')
        role = message.get("role")
        if role not in ROLES:
            near = difflib.get_close_matches(str(role), ROLES, n=1)
            raise RowError(f"{place}.role", f"is {role!r}", f"did you mean {near[0]!r}?" if near else "use system, user or assistant")
        if role == "user":
            said.append(_content(message, place))
        elif role == "assistant":
            reply, text, asked = _content(message, place), "\n".join(said), bool(said)
    if not reply.strip():
        raise RowError("messages", "there is no reply of the assistant", "add one with role 'assistant': it is the label")
    if not asked:
        raise RowError("messages", "there is no message of the user before the last reply", "add one with role 'user'")
    return {"text": text, "label": reply.strip()} | {
        key: value for key, value in values.items() if key not in ("messages", "text", "label")
    }


class OpenaiChat:
    """See the module."""

    name = "openai-chat"
    summary = "OpenAI chat JSONL: the label is the assistant's reply"
    suffixes = (".jsonl",)

    def sniff(self, path: Path, head: bytes) -> float:
        """Sure when the first line is an object with messages."""
        first = head.lstrip().split(b"\n", 1)[0]
        return 0.95 if first.startswith(b"{") and b'"messages"' in first else 0.0

    def rows(self, path: Path, *, encoding: str = "", delimiter: str = "") -> Iterator[Row | BadRow]:
        """Rows with ``text`` and ``label``; a chat without a user or a reply is a ``BadRow``."""
        for row in read_objects(path, encoding):
            if isinstance(row, BadRow):
                yield row
                continue
            try:
                yield Row(row.line, chat(row.values), row.at_bytes)
            except RowError as error:
                yield BadRow(row.line, error.field, error.reason, error.remedy)


plugin = OpenaiChat()
