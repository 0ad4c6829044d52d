"""OpenAI chat JSONL: ``{"messages": [...]}`` a line; the text is what the user said, the label the assistant's last reply that is learned
(its ``weight`` is not 0).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from luthier.core.errors import RowError
from luthier.core.message_rules import last_trained
from luthier.core.ports import BadRow, Row
from luthier.formats._rows import converted
from luthier.formats.jsonl import read_objects

ROLES = ("system", "developer", "user", "assistant", "tool", "function")


class Turn(NamedTuple):
    """One message: who said it, its text, and whether it is the assistant's and learned (its weight is not 0)."""

    role: str
    text: str
    trained: bool = False


def turns(messages: Any, *, text_only: bool = False) -> list[Turn]:
    """The messages in order. ``text_only``: parts that are no text (an image) are refused, where a training file's are passed over.

    Raises ``RowError`` that names the message.
    """
    if not isinstance(messages, list) or not messages:
        raise RowError("messages", "is missing or empty", 'write {"messages": [{"role": "user", "content": "..."}, ...]}')
    found = []
    for number, message in enumerate(messages):
        place = f"messages[{number}]"
        if not isinstance(message, dict):
            raise RowError(place, "is not an object", 'write {"role": "user", "content": "..."}')
        role = message.get("role")
        if role not in ROLES:
            near = difflib.get_close_matches(str(role), ROLES, n=1)
            raise RowError(f"{place}.role", f"is {role!r:.80}", f"did you mean {near[0]!r}?" if near else "use system, user or assistant")
        text = _content(message, place, text_only=text_only) if role in ("user", "assistant") else ""
        found.append(Turn(role, text, role == "assistant" and not text_only and _learned(message, place)))
    return found


def asked(messages: Any) -> str:
    """What a classifier reads of a chat that it should answer: all that the user said, as in training (``chat``).

    Raises ``RowError`` when the user said nothing, or sent what is no text.
    """
    said = [turn.text for turn in turns(messages, text_only=True) if turn.role == "user"]
    if not any(text.strip() for text in said):
        raise RowError("messages", "there is no text of the user", "add a message with role 'user'")
    return "\n".join(said)


def chat(values: dict[str, Any]) -> dict[str, Any]:
    """``{text, label, ...other keys}``: the assistant's last reply of weight 1, and what the user said before it, joined by newlines.

    The system prompt is dropped, and so is what the user said after that reply: the answer cannot have known it.
    """
    found = turns(values.get("messages"))
    label = last_trained(found)
    if label < 0 and any(turn.role == "assistant" for turn in found):
        raise RowError("messages", "every message of the assistant has weight 0", "give the label weight 1, or leave the weights out")
    reply = found[label].text if label >= 0 else ""
    if not reply.strip():
        raise RowError("messages", "there is no reply of the assistant", "add one with role 'assistant': it is the label")
    text = "\n".join(turn.text for turn in found[:label] if turn.role == "user")
    if not text.strip():
        raise RowError("messages", "there is no text of the user before the reply that is the label", "add a message with role 'user'")
    return {"text": text, "label": reply.strip()} | {
        key: value for key, value in values.items() if key not in ("messages", "text", "label")
    }


def _content(message: dict[str, Any], place: str, *, text_only: bool) -> str:
    content = message.get("content")
    if isinstance(content, list):
        if text_only:
            _refuse_others(content, place)
        kinds = ("text", "refusal") if message.get("role") == "assistant" else ("text",)
        parts = [part.get(part["type"]) for part in content if isinstance(part, dict) and part.get("type") in kinds]
        odd = next((part for part in parts if part is not None and not isinstance(part, str)), None)
        content = "\n".join(part or "" for part in parts) if odd is None else odd
    if content is None or content == "":
        refusal = message.get("refusal")
        return refusal if isinstance(refusal, str) and message.get("role") == "assistant" else ""
    if not isinstance(content, str):
        raise RowError(f"{place}.content", f"is {type(content).__name__}, not text", "write the message as a string")
    return content


def _learned(message: dict[str, Any], place: str) -> bool:
    weight = message.get("weight")
    if weight is not None and (isinstance(weight, bool) or weight not in (0, 1)):
        raise RowError(f"{place}.weight", f"is {weight!r:.80}", "use 0 (read only) or 1 (learn)")
    return weight != 0


def _refuse_others(parts: list[Any], place: str) -> None:
    for number, part in enumerate(parts):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("text", "refusal"):
            reason = f"is of type {kind!r:.80}; this model reads text only"
            raise RowError(f"{place}.content[{number}]", reason, 'send {"type": "text", "text": "..."}, or a plain string')


class OpenaiChat:
    """See the module."""

    name = "openai-chat"
    summary = "OpenAI chat JSONL: the label is the assistant's reply"
    suffixes = (".jsonl",)
    turns = ("messages",)
    """What it turns into text and label; a task that wants the messages themselves reads the file as JSONL."""

    def sniff(self, path: Path, head: bytes) -> float:
        """Sure when the first line is an object with messages."""
        first = head.lstrip().split(b"\n", 1)[0]
        return 0.95 if first.startswith(b"{") and b'"messages"' in first else 0.0

    def rows(self, path: Path, *, encoding: str = "", delimiter: str = "") -> Iterator[Row | BadRow]:
        """Rows with ``text`` and ``label``; a chat without a user or a reply is a ``BadRow``."""
        return (converted(row, chat) for row in read_objects(path, encoding))


plugin = OpenaiChat()
