"""What a message of a training file may be: OpenAI's rules for roles, contents, tool calls and weights, with the remedy for each breach."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple, Protocol

from luthier.core.errors import RowError

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MESSAGE_KEYS = ("role", "content", "name", "weight", "tool_calls", "function_call", "refusal", "tool_call_id", "audio", "annotations")
SYNONYMS = {"human": "user", "customer": "user", "gpt": "assistant", "bot": "assistant", "ai": "assistant", "model": "assistant"}
"""What other formats call a role."""

CHARACTERS_A_TOKEN = 4
DETAILS = ("auto", "low", "high")
_MESSAGE = 'write {"role": "user", "content": "..."}'
_CALL = 'write {"id": "call_1", "type": "function", "function": {"name": "...", "arguments": "{...}"}}'


class Reply(NamedTuple):
    """What a message says: its text ("" where it only calls tools), and whether the model learns to say it."""

    role: str
    text: str
    trained: bool


class Learnable(Protocol):
    """A message of which is known whether the model learns to say it."""

    @property
    def trained(self) -> bool:
        """Whether it is learned."""


def last_trained(messages: Iterable[Learnable]) -> int:
    """The place of the last message that is learned; -1 when there is none."""
    return max((number for number, one in enumerate(messages) if one.trained), default=-1)


def a_kind(value: Any) -> str:
    """What a JSON value is, in JSON's words."""
    kinds = {dict: "an object", list: "an array", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return kinds.get(type(value), "null")


def shown_key(key: str) -> str:
    """A key as an error names it: short, and plain."""
    return key if re.fullmatch(r"[\w.-]{1,40}", key) else repr(key[:40])


def meant(word: Any, known: Collection[str], remedy: str) -> str:
    """The remedy for an unknown word: the nearest known one, or ``remedy``."""
    said = str(word)[:100]
    near = [SYNONYMS[said.lower()]] if said.lower() in SYNONYMS else difflib.get_close_matches(said.lower(), known, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near and near[0] in known else remedy


def short(value: Any) -> str:
    """A value as an error shows it."""
    return repr(value[:40]) if isinstance(value, str) else a_kind(value) if isinstance(value, dict | list) else repr(value)[:40]


def check_keys(values: dict[str, Any], known: Collection[str], place: str) -> None:
    """Raises ``RowError`` for a key that is not known. A key whose value is null counts as left out: clients write all they have."""
    for key, value in values.items():
        if key not in known and value is not None:
            remedy = meant(key, known, "known: " + ", ".join(known))
            raise RowError(f"{place}.{shown_key(key)}" if place else shown_key(key), "is no known key", remedy)


def messages(value: Any, place: str, roles: Collection[str] = ROLES) -> list[Reply]:
    """The messages of a row; raises ``RowError`` for the first that breaks a rule."""
    if value is None:
        raise RowError(place, "is missing", f'write "{place}": [{{"role": "user", "content": "..."}}, ...]')
    if not isinstance(value, list):
        raise RowError(place, f"is {a_kind(value)}, not an array", "write the messages as an array")
    if not value:
        raise RowError(place, "is empty", "write one message at least")
    calls: set[str] = set()
    return [_message(one, f"{place}[{number}]", roles, calls) for number, one in enumerate(value)]


def _message(value: Any, place: str, roles: Collection[str], calls: set[str]) -> Reply:
    if not isinstance(value, dict):
        raise RowError(place, f"is {a_kind(value)}, not an object", _MESSAGE)
    role = _role(value, place, roles)
    check_keys(value, MESSAGE_KEYS, place)
    _name(value, place, role)
    weight = _weight(value, place, role)
    called = _calls(value, place, role, calls)
    text = _content(value, place, role, needed=not called and (role != "assistant" or weight))
    if role == "tool":
        _answers(value, place, calls)
    return Reply(role, text, role == "assistant" and weight)


def _role(value: dict[str, Any], place: str, roles: Collection[str]) -> str:
    if value.get("role") is None:
        near = next((key for key in value if key not in MESSAGE_KEYS and difflib.get_close_matches(key.lower(), ["role"], 1, 0.7)), "")
        hint = f"did you mean 'role' with {shown_key(near)}?" if near else _MESSAGE
        raise RowError(f"{place}.role", "is missing", "use role and content instead of from and value" if "from" in value else hint)
    role = value["role"]
    if not isinstance(role, str):
        raise RowError(f"{place}.role", f"is {a_kind(role)}, not text", "use " + ", ".join(roles))
    if role not in roles:
        raise RowError(f"{place}.role", f"is {short(role)}", meant(role, roles, "use " + ", ".join(roles)))
    return role


def _name(value: dict[str, Any], place: str, role: str) -> None:
    name = value.get("name")
    if name is None:
        if role == "function":
            raise RowError(f"{place}.name", "is missing", "name the function that answered")
    elif not isinstance(name, str) or not 1 <= len(name) <= 64:
        raise RowError(f"{place}.name", "is no text of 1 to 64 characters", "shorten it, or leave it out")


def _weight(value: dict[str, Any], place: str, role: str) -> bool:
    """Whether the message is learned, as far as its weight says (there is none: yes)."""
    weight = value.get("weight")
    if weight is None:
        return True
    if role != "assistant":
        raise RowError(f"{place}.weight", f"is set on a message of the role {role!r}", "only messages of the assistant have a weight")
    if isinstance(weight, bool) or weight not in (0, 1):
        raise RowError(f"{place}.weight", f"is {short(weight)}", "use 0 (read only) or 1 (learn)")
    return bool(weight)


def _content(value: dict[str, Any], place: str, role: str, *, needed: bool) -> str:
    content, where = value.get("content"), f"{place}.content"
    refusal = value.get("refusal")
    if refusal is not None and (role != "assistant" or not isinstance(refusal, str)):
        raise RowError(f"{place}.refusal", "is no text of the assistant", "leave it out")
    if content is None:
        if not needed or refusal:
            return refusal or ""
        near = next((key for key in value if difflib.get_close_matches(key.lower(), ["content"], 1, 0.7)), "")
        raise RowError(where, "is missing", f"did you mean 'content' with {shown_key(near)}?" if near else _MESSAGE)
    if isinstance(content, str):
        text = content
    elif isinstance(content, list):
        text = "\n".join(_part(part, f"{where}[{number}]", role) for number, part in enumerate(content))
    else:
        raise RowError(where, f"is {a_kind(content)}, not text", "write the message as a text")
    pictures = isinstance(content, list) and any(part.get("type") == "image_url" for part in content)
    if needed and role in ("user", "assistant") and not text.strip() and not pictures and not refusal:
        raise RowError(where, "is empty", "write what is said, or take the row out")
    return text or refusal or ""


def _part(part: Any, place: str, role: str) -> str:
    if not isinstance(part, dict):
        raise RowError(place, f"is {a_kind(part)}, not an object", 'write {"type": "text", "text": "..."}')
    kind = part.get("type")
    kinds = ("text", "image_url") if role == "user" else ("text", "refusal") if role == "assistant" else ("text",)
    if kind not in kinds:
        raise RowError(
            f"{place}.type", f"is {short(kind)}" if kind is not None else "is missing", meant(kind, kinds, f"use {' or '.join(kinds)}")
        )
    check_keys(part, ("type", str(kind)), place)
    if kind == "image_url":
        _picture(part.get("image_url"), f"{place}.image_url")
        return ""
    text = part.get(str(kind))
    if not isinstance(text, str):
        raise RowError(f"{place}.{kind}", f"is {a_kind(text)}, not text" if text is not None else "is missing", "write a text")
    return text


def _picture(value: Any, place: str) -> None:
    if not isinstance(value, dict) or not isinstance(value.get("url"), str):
        raise RowError(place, "has no url", 'write {"url": "https://..."} or a data: address')
    check_keys(value, ("url", "detail"), place)
    if not value["url"].startswith(("http://", "https://", "data:image/")):
        raise RowError(f"{place}.url", f"is {short(value['url'])}", "use https://... or data:image/...;base64,...")
    if value.get("detail") not in (None, *DETAILS):
        raise RowError(f"{place}.detail", f"is {short(value['detail'])}", meant(value["detail"], DETAILS, "use auto, low or high"))


def _calls(value: dict[str, Any], place: str, role: str, calls: set[str]) -> bool:
    """Whether the message calls tools; ids of its calls join ``calls``."""
    found, single = value.get("tool_calls"), value.get("function_call")
    if found is None and single is None:
        return False
    where = f"{place}.tool_calls" if found is not None else f"{place}.function_call"
    if role != "assistant":
        raise RowError(where, f"is set on a message of the role {role!r}", "only the assistant calls tools")
    if single is not None:
        _function(single, f"{place}.function_call", arguments=True)
    if found is None:
        return True
    if not isinstance(found, list) or not found:
        raise RowError(where, "is no array of calls", f"leave it out, or {_CALL} in an array")
    for number, call in enumerate(found):
        calls.add(_call(call, f"{where}[{number}]"))
    return True


def _call(call: Any, place: str) -> str:
    if not isinstance(call, dict):
        raise RowError(place, f"is {a_kind(call)}, not an object", _CALL)
    check_keys(call, ("id", "type", "function", "index"), place)
    if not isinstance(call.get("id"), str) or not call["id"]:
        raise RowError(f"{place}.id", "is missing or no text", _CALL)
    if call.get("type") != "function":
        raise RowError(f"{place}.type", f"is {short(call.get('type'))}" if call.get("type") is not None else "is missing", "use 'function'")
    _function(call.get("function"), f"{place}.function", arguments=True)
    return str(call["id"])


def _function(value: Any, place: str, *, arguments: bool) -> None:
    if not isinstance(value, dict):
        raise RowError(place, "is missing or no object", 'write {"name": "..."}')
    if not isinstance(value.get("name"), str) or not 1 <= len(value["name"]) <= 64:
        raise RowError(f"{place}.name", "is no text of 1 to 64 characters", "name the function")
    if arguments and not isinstance(value.get("arguments"), str):
        raise RowError(f"{place}.arguments", "is no text", 'write the arguments as JSON in a text: "{...}"')
    if not arguments and not isinstance(value.get("parameters", {}), dict | None):
        raise RowError(f"{place}.parameters", f"is {a_kind(value['parameters'])}, not an object", "write a JSON schema")


def _answers(value: dict[str, Any], place: str, calls: set[str]) -> None:
    identity = value.get("tool_call_id")
    if not isinstance(identity, str) or not identity:
        raise RowError(f"{place}.tool_call_id", "is missing or no text", "name the call that this message answers")
    if identity not in calls:
        raise RowError(f"{place}.tool_call_id", f"is {short(identity)}, which no call before has", meant(identity, calls, "correct the id"))


def tools(row: dict[str, Any], place: str = "") -> None:
    """Checks ``tools``, ``functions`` and ``parallel_tool_calls`` of a row."""
    start = f"{place}." if place else ""
    _array(row.get("tools"), f"{start}tools", _tool)
    _array(row.get("functions"), f"{start}functions", lambda one, where: _function(one, where, arguments=False))
    if not isinstance(row.get("parallel_tool_calls"), bool | None):
        raise RowError(f"{start}parallel_tool_calls", f"is {a_kind(row['parallel_tool_calls'])}", "use true or false")


def _array(value: Any, place: str, check: Callable[[Any, str], None]) -> None:
    if value is None:
        return
    if not isinstance(value, list) or not 1 <= len(value) <= 128:
        raise RowError(place, "is no array of 1 to 128 entries", "leave it out when there are none")
    for number, one in enumerate(value):
        check(one, f"{place}[{number}]")


def _tool(value: Any, place: str) -> None:
    if not isinstance(value, dict):
        raise RowError(place, f"is {a_kind(value)}, not an object", 'write {"type": "function", "function": {"name": "..."}}')
    if value.get("type") != "function":
        raise RowError(
            f"{place}.type", f"is {short(value.get('type'))}" if value.get("type") is not None else "is missing", "use 'function'"
        )
    _function(value.get("function"), f"{place}.function", arguments=False)


def tokens(replies: Iterable[Reply], *, trained: bool = False) -> int:
    """About how many tokens the texts are (a quarter of the characters of each); with ``trained`` of those that are learned."""
    return sum(estimated_tokens(reply.text) for reply in replies if reply.trained or not trained)


def estimated_tokens(text: str) -> int:
    """A quarter of the characters, rounded up."""
    return -(-len(text) // CHARACTERS_A_TOKEN)
