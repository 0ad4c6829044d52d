"""A chat model's answer to a chat: written token by token; calls of tools are read from the text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from luthier.api.chat.pieces import Asked, Piece
from luthier.api.opening import Opened
from luthier.core.errors import SpecError
from luthier.core.types import Example
from luthier.stages.serve.engine import Answered
from luthier.stages.serve.writing import sampling
from luthier.tasks.chat import message

CALL = "<tool_call>"


async def answer(model: Opened, asked: Asked) -> AsyncIterator[Piece]:
    """A piece a token. With tools the text from the first ``<tool_call>`` on is kept until it is whole, then given as calls."""
    refuse_logprobs(asked)
    if asked.settings.get("tool_choice") not in (None, "none", "auto"):
        raise SpecError("tool_choice", "asks for a certain call; models here decide themselves", 'send "auto" or "none"')
    messages = asked.messages if asked.messages is not None else [{"role": "user", "content": asked.prompt}]
    tools = None if asked.settings.get("tool_choice") == "none" else asked.settings.get("tools")
    (example,) = model.task.request({"messages": messages, "tools": tools})
    held = ""
    async for said in model.stream(example, sampling(asked.settings)):
        text, held = _given(held + said.text, bool(said.finish)) if tools else (said.text, "")
        if said.answered is None:
            if text:
                yield Piece(text=text)
            continue
        calls = message(held).get("tool_calls", []) if held else []
        rest = text if calls or not held else text + held
        yield last(rest, "tool_calls" if calls else said.finish, said.answered, calls)


async def written(model: Opened, example: Example, asked: Asked) -> AsyncIterator[Piece]:
    """What a model writes for an example, a piece a token."""
    refuse_logprobs(asked)
    async for said in model.stream(example, sampling(asked.settings)):
        if said.answered is not None:
            yield last(said.text, said.finish, said.answered)
        elif said.text:
            yield Piece(text=said.text)


def last(text: str, finish: str, answered: Answered, calls: list[dict[str, Any]] | None = None) -> Piece:
    """The piece that ends an answer."""
    said = answered.prediction.details
    return Piece(
        text=text,
        finish_reason=finish,
        prompt_tokens=answered.tokens,
        completion_tokens=int(said["completion_tokens"]),
        tool_calls=calls or [],
        luthier={
            "id": answered.prediction.id,
            "latency_ms": round(answered.latency_ms, 2),
            "first_token_ms": round(float(said["first_token_ms"]), 2),
        },
    )


def _given(text: str, whole: bool) -> tuple[str, str]:
    """What can be given now, and what is kept: from the mark of a call on, or what may become one."""
    place = text.find(CALL)
    if place >= 0:
        return text[:place], text[place:]
    keep = 0 if whole else next((size for size in range(len(CALL) - 1, 0, -1) if text.endswith(CALL[:size])), 0)
    return text[: len(text) - keep], text[len(text) - keep :]


def refuse_logprobs(asked: Asked) -> None:
    """Raises ``SpecError`` where chances of tokens are wanted."""
    if asked.alternatives >= 0:
        raise SpecError("logprobs", "are not known of models that write here", "leave it out")
