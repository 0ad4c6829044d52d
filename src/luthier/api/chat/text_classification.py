"""A classifier's answer to a chat: the label is the content, one token long."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Callable
from typing import Any

from luthier.api.chat.pieces import Asked, Chance, Piece, Told
from luthier.api.opening import Opened
from luthier.core.errors import SpecError
from luthier.core.types import Prediction
from luthier.formats import openai_chat

LEAST = -9999.0
"""What OpenAI says for a probability of nothing."""


async def answer(model: Opened, asked: Asked) -> AsyncIterator[Piece]:
    """One piece with everything. The text is what the user said, by the rule of training (``formats/openai_chat.py``)."""
    if asked.settings.get("tool_choice") not in (None, "none", "auto"):
        raise SpecError("tool_choice", "asks for a call of a tool; this model is a classifier", "leave it out")
    text = asked.prompt if asked.messages is None else openai_chat.asked(asked.messages)
    (one,) = await model.predict(model.task.request({"text": text}))
    written = _form(asked.settings.get("response_format"))
    said = model.task.answer(one.prediction, scores=asked.scores)
    yield Piece(
        text=written(_label(one.prediction.output)),
        told=_told(one.prediction, asked.alternatives, written) if asked.alternatives >= 0 else [],
        finish_reason="stop",
        prompt_tokens=one.tokens,
        completion_tokens=1,
        luthier=said | {"latency_ms": round(one.latency_ms, 2)},
    )


def _label(output: Any) -> str:
    """The label; several of them as a JSON list."""
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)


def _told(prediction: Prediction, alternatives: int, written: Callable[[str], str]) -> list[Told]:
    def chance(label: str, share: float) -> Chance:
        return Chance(written(label), math.log(share) if share > 0 else LEAST)

    ranked = sorted(prediction.scores.items(), key=lambda pair: -pair[1])[:alternatives]
    return [Told(chance(_label(prediction.output), prediction.confidence), [chance(label, share) for label, share in ranked])]


def _form(wanted: Any) -> Callable[[str], str]:
    """How the label is written: plain, or as the JSON object that ``response_format`` asks for.

    ``json_object`` gives ``{"label": ...}``; a ``json_schema`` with a single text property gives an object of that, any other one a plain
    label: a classifier has nothing to fill other fields with.
    """
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    field = "label" if kind == "json_object" else _only_text(wanted) if kind == "json_schema" else ""
    return (lambda label: json.dumps({field: label}, ensure_ascii=False)) if field else (lambda label: label)


def _only_text(wanted: dict[str, Any]) -> str:
    """The name of the one property that a label can fill ("" when there is none, or another one is required)."""
    named = wanted.get("json_schema")
    schema = named.get("schema") if isinstance(named, dict) else None
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return ""
    fitting = [name for name, said in properties.items() if isinstance(said, dict) and (said.get("type") == "string" or _is_choice(said))]
    required = schema.get("required") if isinstance(schema, dict) else None
    others = [name for name in required if name not in fitting] if isinstance(required, list) else []
    return str(fitting[0]) if len(fitting) == 1 and not others else ""


def _is_choice(said: dict[str, Any]) -> bool:
    """Whether a property is one of some texts; pydantic writes an ``Enum`` as a reference."""
    choices = said.get("enum")
    return (isinstance(choices, list) and all(isinstance(one, str) for one in choices)) or "$ref" in said
