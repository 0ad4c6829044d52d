"""What a message asks, as the answer to a chat: a JSON object with intents, entities and their words, placed in the text as it was sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from luthier.api.chat.pieces import Asked, Piece
from luthier.api.opening import Opened
from luthier.core.errors import SpecError
from luthier.formats import openai_chat


async def answer(model: Opened, asked: Asked) -> AsyncIterator[Piece]:
    """One piece with everything, whatever ``response_format`` says: a JSON object with ``intents`` and ``entities``, each part of which has
    ``label``, ``text``, ``start`` and ``end``.

    The text is what the user said, by the rule of training (``formats/openai_chat.py``).
    """
    if asked.settings.get("tool_choice") not in (None, "none", "auto"):
        raise SpecError("tool_choice", "asks for a call of a tool; this model tells what a message asks", "leave it out")
    if asked.alternatives >= 0:
        raise SpecError("logprobs", "is for an answer of one label; here each part has its own confidence", "read luthier in the answer")
    text = asked.prompt if asked.messages is None else openai_chat.asked(asked.messages)
    (one,) = await model.predict(model.task.request({"text": text}))
    said = model.task.answer(one.prediction, scores=asked.scores)
    yield Piece(
        text=json.dumps(_plain(said, text), ensure_ascii=False),
        finish_reason="stop",
        prompt_tokens=one.tokens,
        completion_tokens=1,
        luthier=said | {"latency_ms": round(one.latency_ms, 2)},
    )


def _plain(said: dict[str, Any], text: str) -> dict[str, Any]:
    """The answer's parts, each with the words that it is about; how sure they are stands in ``luthier``."""
    return {name: [_part(part, text) for part in said[name]] for name in ("intents", "entities") if name in said}


def _part(part: dict[str, Any], text: str) -> dict[str, Any]:
    if "start" not in part:
        return {"label": part["label"]}
    return {"label": part["label"], "text": text[part["start"] : part["end"]], "start": part["start"], "end": part["end"]}
