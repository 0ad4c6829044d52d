"""How a conversation becomes the text that a model reads: its chat template, rendered as transformers renders it, by jinja2 alone.

Serving needs no transformers; and a template, which comes from strangers, runs in jinja2's sandbox and can change nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from luthier.core.errors import InputError, RowError

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "generation_config.json")
"""What goes with a model's words from folder to folder, where it is there."""

PLAIN = "plain-turns"
"""The template of a base that has none: its name stands in plans and reports."""
PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}{{ '\\n\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}Assistant: {% endif %}"
)
"""An answer ends with the base's own end-of-text, which is put there as a token: as text not every tokenizer would know it again."""
TOOLS_BEFORE = 'You can call these tools, by a line <tool_call>{{"name": ..., "arguments": {{...}}}}</tool_call>:\n{tools}'
"""How tools are told to a model whose template does not know them (the form of Hermes and Qwen)."""


class Segment(NamedTuple):
    """A piece of the rendered text; ``learned``: the assistant says it, and it is to be learned. Each is tokenized by itself, as the answer
    is when the model writes it.
    """

    text: str
    learned: bool


@dataclass(frozen=True)
class ChatTemplate:
    """``name``: ``its own`` or ``PLAIN``; ``marks``: the special tokens that a template may name (``bos_token``, ``eos_token`` ...)."""

    source: str
    name: str
    marks: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _compiled(self) -> Any:
        from jinja2 import TemplateError

        try:
            return _environment().from_string(self.source)
        except TemplateError as error:
            raise InputError(f"the chat template cannot be read: {error}", "correct chat_template.jinja in the model's folder") from None

    @property
    def knows_tools(self) -> bool:
        """Whether the template says something about tools."""
        return "tools" in self.source and "tool_calls" in self.source

    def rendered(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] = (), *, asks: bool = False) -> str:
        """The conversation as text; ``asks``: up to where the assistant's answer begins.

        Raises ``RowError`` with what the template itself says against the messages.
        """
        from jinja2 import TemplateError

        said = [_plain(message, spelled=not self.knows_tools) for message in messages]
        if tools and not self.knows_tools:
            said = _with_tools(said, tools)
        given = {**self.marks, "messages": said, "tools": list(tools) or None, "documents": None, "add_generation_prompt": asks}
        try:
            return str(self._compiled.render(**given))
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise RowError("messages", f"the base's chat template refuses them: {error}", "change the messages, or the template") from None

    def segments(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] = ()) -> list[Segment]:
        """The conversation in pieces, cut where each answer of the assistant begins and ends.

        An answer is learned unless its ``weight`` is 0; with it the mark that ends it, without the white space behind that. One that a
        template writes otherwise once more follows (Qwen3 drops earlier thoughts) is read only.
        """
        whole = self.rendered(messages, tools)
        found: list[Segment] = []
        at = 0
        for number, message in enumerate(messages):
            if message.get("role") != "assistant":
                continue
            before = self.rendered(messages[:number], tools, asks=True)
            after = self.rendered(messages[: number + 1], tools)
            if not (after.startswith(before) and whole.startswith(after)):
                continue
            end = len(after.rstrip())
            if len(before) >= end:
                continue
            found += [Segment(whole[at : len(before)], False), Segment(whole[len(before) : end], message.get("weight") != 0)]
            at = end
        return [one for one in [*found, Segment(whole[at:], False)] if one.text]


def of(folder: Path) -> ChatTemplate:
    """The template in a model's folder (``chat_template.jinja``, else in ``tokenizer_config.json``), else ``PLAIN``.

    Raises ``InputError`` for a folder whose files cannot be read.
    """
    config = _json(folder / "tokenizer_config.json")
    marks = {name: _word(value) for name, value in config.items() if name.endswith("_token") and _word(value)}
    own = folder / "chat_template.jinja"
    source = own.read_text(encoding="utf-8") if own.exists() else config.get("chat_template")
    if isinstance(source, list):  # several, by name
        source = next((one.get("template") for one in source if one.get("name") == "default"), None)
    if isinstance(source, str) and source:
        return ChatTemplate(source, "its own", marks)
    return ChatTemplate(PLAIN_TEMPLATE, PLAIN, marks)


def end_words(folder: Path) -> list[str]:
    """The names of the tokens that end an answer, as far as the model's folder says."""
    config = _json(folder / "tokenizer_config.json")
    return [word for word in (_word(config.get("eos_token")),) if word]


def end_ids(folder: Path) -> list[int]:
    """The numbers of the tokens that end an answer, as far as the model's folder says."""
    found: list[int] = []
    for name in ("generation_config.json", "config.json"):
        value = _json(folder / name).get("eos_token_id")
        found += [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, int)]
    return list(dict.fromkeys(found))


def _json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}", "copy the model again") from None
    return found if isinstance(found, dict) else {}


def _word(value: Any) -> str:
    return value if isinstance(value, str) else str(value.get("content", "")) if isinstance(value, dict) else ""


def _plain(message: Mapping[str, Any], *, spelled: bool) -> dict[str, Any]:
    """A message as templates expect it: content a text, the arguments of calls an object; ``spelled``: calls as text."""
    found = {key: value for key, value in message.items() if key not in ("weight", "content") and value is not None}
    found["content"] = content_of(message)
    calls = [_call(one) for one in message.get("tool_calls") or ()]
    if calls and spelled:
        lines = [json.dumps(call["function"], ensure_ascii=False) for call in calls]
        written = "\n".join(f"<tool_call>{line}</tool_call>" for line in lines)
        found["content"] = f"{found['content']}\n{written}".strip()
        del found["tool_calls"]
    elif calls:
        found["tool_calls"] = calls
    return found


def content_of(message: Mapping[str, Any]) -> str:
    """What a message says: its text, or the texts of its parts."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(part.get("text", part.get("refusal", ""))) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else str(message.get("refusal") or "")


def _call(call: Any) -> dict[str, Any]:
    function = dict(call.get("function", {}))
    if isinstance(function.get("arguments"), str):
        try:
            function["arguments"] = json.loads(function["arguments"])
        except ValueError as error:
            raise RowError("messages.tool_calls.function.arguments", f"is no JSON: {error}", "write the arguments as JSON") from None
    return {"type": "function", **call, "function": function}


def _with_tools(messages: list[dict[str, Any]], tools: Sequence[Any]) -> list[dict[str, Any]]:
    told = TOOLS_BEFORE.format(tools="\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools))
    if messages and messages[0]["role"] in ("system", "developer"):
        return [{**messages[0], "content": f"{messages[0]['content']}\n\n{told}"}, *messages[1:]]
    return [{"role": "system", "content": told}, *messages]


def _environment() -> Any:
    """With the settings and the names that transformers gives (``utils/chat_template_utils.py``)."""
    from jinja2 import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def as_json(value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _generation_mark()])
    environment.filters["tojson"] = as_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _generation_mark() -> Any:
    """``{% generation %}``, which some templates put around what the assistant says; here it only lets its inside through."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    return Generation
