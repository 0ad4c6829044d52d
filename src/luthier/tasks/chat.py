"""Chat: a conversation in, the assistant's answer out; learned from conversations as OpenAI's fine-tuning takes them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from luthier.core import message_rules
from luthier.core.chat_template import Segment, content_of
from luthier.core.errors import InputError, RowError
from luthier.core.types import Column, Example, Place, Prediction, Schema, content_id
from luthier.tasks._text import requested
from luthier.tasks._written import Processor, Writes, limits

MESSAGES, TOOLS = "messages", "tools"
CALL = re.compile(r"<tool_call>\s*(\{.*?\})\s*</tool_call>", re.DOTALL)


class Chat(Writes):
    """An example's ``inputs`` are ``messages`` (all before the last answer that is learned) and ``tools``; its target is that answer.

    Earlier answers are learned too, unless their ``weight`` is 0.
    """

    name = "chat"
    summary = "answers in a conversation, with a GPT: many turns, system prompts, tools"
    columns: tuple[Column, ...] = (
        Column(MESSAGES, "the conversation, as OpenAI's fine-tuning takes it", aliases=("conversation", "dialogue")),
        Column(TOOLS, "the tools that the assistant may call", required=False),
    )
    primary_metric = "token_accuracy"
    metrics: tuple[str, ...] = ("perplexity", "rouge", "answer-intents", "bleu", "text-length", "repetition")
    baselines = ("untouched",)

    def example(self, row: Mapping[str, Any], place: Place) -> Example:
        """Raises ``RowError`` for a conversation that breaks a rule or holds no answer to learn."""
        messages, tools = parsed(row.get(MESSAGES), MESSAGES), parsed(row.get(TOOLS), TOOLS) or []
        replies = message_rules.messages(messages, MESSAGES)
        message_rules.tools({TOOLS: tools or None})
        last = message_rules.last_trained(replies)
        if last < 0:
            raise RowError(MESSAGES, "there is no answer of the assistant to learn", "add one, or give one of them weight 1")
        if not any(reply.role in ("user", "tool", "function") for reply in replies[:last]):
            raise RowError(MESSAGES, "nobody says anything before the answer", "add a message with role 'user' before it")
        inputs = {MESSAGES: [kept(one) for one in messages[:last]], **({TOOLS: tools} if tools else {})}
        rest = {key: value for key, value in row.items() if key not in (MESSAGES, TOOLS)}
        return Example(content_id(inputs), inputs, kept(messages[last]), "", str(place), rest)

    def schema(self, targets: Iterable[Any]) -> Schema:
        """Raises ``InputError`` when there is nothing to learn from."""
        return limits(targets, MESSAGES)

    def segments(self, example: Example, processor: Processor, schema: Schema) -> list[Segment]:
        """By the base's chat template; without a target up to where the answer begins."""
        messages, tools = example.inputs[MESSAGES], example.inputs.get(TOOLS, [])
        if example.target is None:
            read = processor.template.segments(messages, tools)
            asked = processor.template.rendered(messages, tools, asks=True)
            told = "".join(one.text for one in read)
            tail = asked[len(told) :] if asked.startswith(told) else ""
            return [*(replace_learned(one) for one in read), Segment(tail, False)] if tail else [Segment(asked, False)]
        return processor.template.segments([*messages, example.target], tools)

    def pieces(self, example: Example) -> list[str]:
        """What each message says."""
        said = [content_of(one) for one in example.inputs[MESSAGES]]
        return said if example.target is None else [*said, content_of(example.target)]

    def with_text(self, example: Example, text: str) -> Example:
        """The conversation becomes one message of a user."""
        inputs = {**example.inputs, MESSAGES: [{"role": "user", "content": text}]}
        return replace(example, id=content_id(inputs), inputs=inputs)

    def rebuilt(self, example: Example, pieces: Sequence[str]) -> Example:
        """Texts of parts become one text."""
        before = example.inputs[MESSAGES]
        messages = [{**one, "content": text} for one, text in zip(before, pieces, strict=False)]
        target = example.target if example.target is None else {**example.target, "content": pieces[len(before)]}
        return replace(example, inputs={**example.inputs, MESSAGES: messages}, target=target)

    def request(self, body: Mapping[str, Any]) -> list[Example]:
        """``{"messages": [...], "tools": [...]}``, or texts that a user says, each a conversation of its own; raises ``InputError``."""
        if MESSAGES not in body and ("text" in body or "texts" in body):
            return [one for text in requested(body) for one in self.request({MESSAGES: [{"role": "user", "content": text}]})]
        try:
            message_rules.messages(body.get(MESSAGES), MESSAGES)
            message_rules.tools({TOOLS: body.get(TOOLS) or None})
        except RowError as error:
            raise InputError(f"{error.field}: {error.reason}", error.remedy) from None
        inputs = {MESSAGES: [kept(one) for one in body[MESSAGES]], **({TOOLS: body[TOOLS]} if body.get(TOOLS) else {})}
        return [Example(content_id(inputs), inputs)]

    def answer(self, prediction: Prediction, *, scores: bool = False) -> dict[str, Any]:
        """``{id, message}``; calls of tools stand in the message as such."""
        return {"id": prediction.id, "message": message(prediction.output or "")}


def message(text: str) -> dict[str, Any]:
    """What was written, as a message: ``<tool_call>{...}</tool_call>`` becomes a call (text where it is no JSON), the rest is content."""
    calls: list[dict[str, Any]] = []

    def take(found: re.Match[str]) -> str:
        try:
            call = json.loads(found[1])
            name, arguments = call["name"], call.get("arguments", {})
        except (ValueError, KeyError, TypeError):
            return found[0]
        given = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        calls.append(
            {"id": f"call_{content_id([len(calls), name, given])}", "type": "function", "function": {"name": name, "arguments": given}}
        )
        return ""

    content = CALL.sub(take, text).strip()
    said: dict[str, Any] = {"role": "assistant", "content": content or (None if calls else "")}
    return said | ({"tool_calls": calls} if calls else {})


def replace_learned(segment: Segment) -> Segment:
    """The same text, read only."""
    return Segment(segment.text, False)


def parsed(value: Any, field: str) -> Any:
    """A cell of a table may hold the JSON as a text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else None
    except ValueError as error:
        raise RowError(field, f"is a text that is no JSON: {error}", "write the messages as a JSON array") from None


def kept(said: Mapping[str, Any]) -> dict[str, Any]:
    """A message without keys that say nothing."""
    return {key: value for key, value in said.items() if value is not None}


plugin = Chat()
