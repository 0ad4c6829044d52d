"""What is asked, and the pieces that an answer comes in: the same for chats and completions, streamed or whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Asked:
    """One question. ``messages``: of a chat (else ``None``, and ``prompt`` holds the text); ``settings``: the request's other fields.

    ``alternatives``: how many likeliest answers are told beside each token, -1: no probabilities at all.
    """

    messages: list[dict[str, Any]] | None = None
    prompt: str = ""
    alternatives: int = -1
    scores: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


class Chance(NamedTuple):
    """A token and the natural logarithm of its probability."""

    token: str
    logprob: float


class Told(NamedTuple):
    """One token of the answer, and what else could have stood there."""

    chance: Chance
    others: list[Chance]


@dataclass(frozen=True)
class Piece:
    """A part of an answer. The last one has ``finish_reason``, the counts of tokens, and ``luthier``: what OpenAI has no word for."""

    text: str = ""
    told: list[Told] = field(default_factory=list)
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    luthier: dict[str, Any] = field(default_factory=dict)
