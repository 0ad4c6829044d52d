"""Which kind of training row a line is, and what each kind must hold: chat, preference, completion, reinforcement, or a table's row.

The first row that says what it is decides for the whole file; a row of another kind is refused.
"""

from __future__ import annotations

import difflib
from typing import Any, Literal, NamedTuple

from luthier.core import message_rules as rules
from luthier.core import preference_rules
from luthier.core.errors import RowError
from luthier.core.message_rules import Reply, a_kind, shown_key
from luthier.core.preference_rules import NOT_PREFERRED, PREFERRED

Kind = Literal["chat", "preference", "completion", "reinforcement", "table"]

CHAT_KEYS = ("messages", "tools", "parallel_tool_calls", "functions")
SYNONYMS = {"conversations": "messages", "conversation": "messages", "dialog": "messages", "dialogue": "messages", "turns": "messages"}
_WORDS = (*CHAT_KEYS, "input", *PREFERRED, *NOT_PREFERRED, "prompt", "completion")
_NAMES: dict[str, str] = {
    "chat": "a chat",
    "preference": "a preference pair",
    "completion": "a prompt with its completion",
    "reinforcement": "a reinforcement row",
    "table": "a row of columns",
}


class Row(NamedTuple):
    """What a row comes to: its messages; ``reply``, the text that a classifier would answer ("" where it is none); ``label``, which of
    the messages that is; ``asked``: whether there is a text before it that a classifier could read.
    """

    replies: list[Reply]
    reply: str
    label: int | None = None
    asked: bool = True


def kind_of(row: dict[str, Any]) -> Kind:
    """The kind that a row's keys say; raises ``RowError`` for keys that look like a known one misspelt."""
    if "messages" in row:
        extras = [key for key in row if key not in CHAT_KEYS]
        return "reinforcement" if extras and not _ends_with_assistant(row["messages"]) else "chat"
    if any(key in row for key in (*PREFERRED, *NOT_PREFERRED)):
        return "preference"
    if "prompt" in row and "completion" in row:
        return "completion"
    refuse_misspelt(row)
    if set(row) in ({"prompt"}, {"completion"}):
        raise RowError("completion" if "prompt" in row else "prompt", "is missing", 'write {"prompt": "...", "completion": "..."}')
    if set(row) == {"input"}:
        raise RowError("preferred_output", "is missing", 'write {"input": {...}, "preferred_output": [...], "non_preferred_output": [...]}')
    return "table"


def _ends_with_assistant(messages: Any) -> bool:
    last = messages[-1] if isinstance(messages, list) and messages else None
    return isinstance(last, dict) and last.get("role") == "assistant"


def refuse_misspelt(row: dict[str, Any]) -> None:
    """Raises ``RowError`` for a key that is nearly one of ours and holds what that one holds."""
    pair = {"prompt": "completion", "completion": "prompt"}
    for key, value in row.items():
        if key in _WORDS:
            continue
        lists = isinstance(value, list) and bool(value) and isinstance(value[0], dict)
        if lists:
            words = [word for word in _WORDS if word not in pair and word not in row]
        else:  # a table may well have a column "prompts": only beside the other half of the pair it is a misspelling
            words = [word for word, other in pair.items() if word not in row and other in row]
        near = [SYNONYMS[key.lower()]] if lists and key.lower() in SYNONYMS else difflib.get_close_matches(key.lower(), words, 1, 0.82)
        if near and near[0] not in row:
            raise RowError(shown_key(key), "is no known key", f"did you mean {near[0]!r}?")


def check(row: dict[str, Any], kind: Kind) -> Row:
    """Checks a row of a file of that kind; raises ``RowError``."""
    if not row:
        raise RowError("", "is an empty object", "take the line out")
    other = "table" if kind == "table" and not set(row) & {"messages", *PREFERRED, *NOT_PREFERRED} else kind_of(row)
    if other != kind and {other, kind} != {"chat", "reinforcement"}:
        raise RowError("", f"is {_NAMES[other]}, and the rows before are {kind} rows", "keep one kind of row in a file")
    checks = {"chat": _chat, "preference": _preference, "completion": _completion, "reinforcement": _reinforcement, "table": _table}
    return checks[kind](row)


def _chat(row: dict[str, Any]) -> Row:
    refuse_misspelt(row)
    _refuse_second_kind(row, "chat")
    replies = rules.messages(row["messages"], "messages")
    rules.tools(row)
    spoken = [reply for reply in replies if reply.role == "assistant"]
    if not spoken:
        raise RowError("messages", "there is no message of the assistant", "add one: it is what the model learns to say")
    if not any(reply.trained for reply in spoken):
        raise RowError("messages", "every message of the assistant has weight 0", "give one of them weight 1, or leave the weights out")
    label = rules.last_trained(replies)
    asked = any(reply.role == "user" and reply.text.strip() for reply in replies[:label])
    return Row(replies, replies[label].text.strip(), label, asked)


def _refuse_second_kind(row: dict[str, Any], kind: Kind) -> None:
    """A row is of one kind: with the keys of two, nobody can tell which was meant."""
    others = [*PREFERRED, *NOT_PREFERRED] + (["completion"] if kind == "chat" else ["messages"])
    both = next((key for key in others if key in row), "")
    if both:
        raise RowError(both, f"is a key of another kind, and the row is {_NAMES[kind]}", "keep one kind")


def _preference(row: dict[str, Any]) -> Row:
    asked, better, worse = preference_rules.row(row)
    return Row([*(reply._replace(trained=False) for reply in asked), *better, *(reply._replace(trained=False) for reply in worse)], "")


def _completion(row: dict[str, Any]) -> Row:
    refuse_misspelt(row)
    _refuse_second_kind(row, "completion")
    for key in ("prompt", "completion"):
        if not isinstance(row[key], str):
            raise RowError(key, f"is {a_kind(row[key])}, not text", "write a text")
        if not row[key].strip() and key == "completion":
            raise RowError(key, "is empty", "write what the model should answer")
    replies = [Reply("prompt", row["prompt"], False), Reply("completion", row["completion"], True)]
    return Row(replies, row["completion"].strip(), 1, bool(row["prompt"].strip()))


def _reinforcement(row: dict[str, Any]) -> Row:
    refuse_misspelt(row)
    replies = rules.messages(row["messages"], "messages")
    rules.tools(row)
    if replies[-1].role == "assistant":
        raise RowError("messages", "end with a message of the assistant", "end with the user's: the model answers, the grader judges")
    return Row([reply._replace(trained=False) for reply in replies], "")


def _table(row: dict[str, Any]) -> Row:
    for key, value in row.items():
        if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict | list) for one in value)):
            raise RowError(
                shown_key(key),
                f"is {a_kind(value)} of objects" if isinstance(value, list) else "is an object",
                "a column holds a text, a number or a list of texts",
            )
    texts = [str(value) for value in row.values() if isinstance(value, str)]
    return Row([Reply("row", " ".join(texts), False)], "")
