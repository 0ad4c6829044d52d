"""What a preference pair must hold: a conversation that asks, and two different answers, of which people prefer one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from luthier.core import message_rules as rules
from luthier.core.chat_template import content_of
from luthier.core.errors import RowError
from luthier.core.message_rules import Reply

INPUT_KEYS = ("messages", "tools", "parallel_tool_calls")
PREFERRED = ("preferred_output", "preferred_completion")
NOT_PREFERRED = ("non_preferred_output", "non_preferred_completion")
"""OpenAI's guides and Azure's say ``output``, OpenAI's own description of its API ``completion``."""
FORM = 'write {"input": {"messages": [...]}, "preferred_output": [...], "non_preferred_output": [...]}'


class Pair(NamedTuple):
    """What each side says."""

    asked: list[Reply]
    better: list[Reply]
    worse: list[Reply]


def is_pair(row: Mapping[str, Any]) -> bool:
    """Whether a row's keys are those of a preference pair."""
    return any(key in row for key in (*PREFERRED, *NOT_PREFERRED))


def row(values: dict[str, Any]) -> Pair:
    """Checks a row of OpenAI's preference file; raises ``RowError`` for the first breach."""
    rules.check_keys(values, ("input", *PREFERRED, *NOT_PREFERRED), "")
    given = values.get("input")
    if not isinstance(given, dict):
        raise RowError("input", "is missing or no object", 'write "input": {"messages": [...]}')
    rules.check_keys(given, INPUT_KEYS, "input")
    rules.tools(given, "input")
    better, worse = _named(values, PREFERRED), _named(values, NOT_PREFERRED)
    return pair(given.get("messages"), values[better], values[worse], ("input.messages", better, worse))


def answers(values: Mapping[str, Any]) -> tuple[Any, Any]:
    """The preferred answer of a row and the other one, whichever names they have."""
    better, worse = (next((values[name] for name in names if values.get(name) is not None), None) for names in (PREFERRED, NOT_PREFERRED))
    return better, worse


def pair(asked: Any, better: Any, worse: Any, places: tuple[str, str, str]) -> Pair:
    """Checks a conversation and two answers (lists of messages), which stand at ``places``; raises ``RowError``."""
    replies = rules.messages(asked, places[0])
    if not any(reply.role in ("user", "tool", "function") for reply in replies):
        raise RowError(places[0], "nobody says anything before the answers", "add a message with role 'user'")
    found = Pair(replies, _answer(better, places[1]), _answer(worse, places[2]))
    if _said(better) == _said(worse):
        raise RowError(places[2], f"says the same as {places[1]}", "give two different answers, or take the line out")
    return found


def _named(values: dict[str, Any], names: tuple[str, str]) -> str:
    there = [name for name in names if values.get(name) is not None]
    if len(there) != 1:
        reason = "is missing" if not there else f"is there beside {there[1]}"
        raise RowError(names[0], reason, f"write {names[0]}: one or more messages of the assistant")
    return there[0]


def _answer(value: Any, place: str) -> list[Reply]:
    if value is None:
        raise RowError(place, "is missing", f"write {place}: one or more messages of the assistant")
    replies = rules.messages(value, place, ("assistant", "tool"))
    if not any(reply.role == "assistant" for reply in replies):
        raise RowError(place, "holds no message of the assistant", "add one")
    if not any(reply.trained for reply in replies):
        raise RowError(place, "every message of the assistant has weight 0", "leave the weight out")
    return replies


def _said(messages: Sequence[Mapping[str, Any]]) -> list[Any]:
    """What the messages come to: texts without space around them, and what is called (ids of calls say nothing)."""
    calls = [[call.get("function") for call in one.get("tool_calls") or ()] for one in messages]
    return [[one.get("role"), content_of(one).strip(), call, one.get("function_call")] for one, call in zip(messages, calls, strict=True)]
