"""OpenAI's objects from the pieces of an answer: whole, and as a stream of server-sent events."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response, StreamingResponse

from luthier.api import errors
from luthier.api.chat.pieces import Chance, Piece, Told
from luthier.core.errors import LuthierError

LOG = logging.getLogger("luthier.api")


@dataclass(frozen=True)
class Frame:
    """What every object of one answer says. ``kind``: ``chat.completion`` or ``text_completion``."""

    kind: str
    model: str
    export: str
    probabilities: bool = False
    id: str = ""
    created: int = field(default_factory=lambda: int(time.time()))

    @classmethod
    def new(cls, kind: str, model: str, export: str, *, probabilities: bool) -> Frame:
        """With an id of its own."""
        return cls(kind, model, export, probabilities, f"{'chatcmpl' if kind == 'chat.completion' else 'cmpl'}-{secrets.token_hex(12)}")

    def object(self, choices: list[dict[str, Any]], *, chunk: bool = False, **more: Any) -> dict[str, Any]:
        """The object around the choices."""
        kind = "chat.completion.chunk" if chunk and self.kind == "chat.completion" else self.kind
        head = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return head | {"choices": choices, "system_fingerprint": self.export} | more


def usage(pieces: Sequence[Piece]) -> dict[str, int]:
    """Tokens read and written."""
    read, wrote = sum(one.prompt_tokens for one in pieces), sum(one.completion_tokens for one in pieces)
    return {"prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote}


def whole_chat(frame: Frame, pieces: Sequence[Piece]) -> dict[str, Any]:
    """A ``chat.completion``."""
    text, told, luthier = joined(pieces)
    calls = [call for piece in pieces for call in piece.tool_calls]
    content = None if calls and not text.strip() else text.rstrip() if calls else text
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
    message |= {"tool_calls": calls} if calls else {}
    choice = {"index": 0, "message": message, "logprobs": chat_probabilities(frame, told), "finish_reason": pieces[-1].finish_reason}
    return frame.object([choice], usage=usage(pieces), luthier=luthier)


def joined(pieces: Sequence[Piece]) -> tuple[str, list[Told], dict[str, Any]]:
    """The whole text, every token, and the last word of what is Luthier's."""
    return "".join(one.text for one in pieces), [told for one in pieces for told in one.told], pieces[-1].luthier


def chat_probabilities(frame: Frame, told: Sequence[Told]) -> dict[str, Any] | None:
    """``logprobs`` of a chat's choice."""
    if not frame.probabilities:
        return None
    content = [_chance(one.chance) | {"top_logprobs": [_chance(other) for other in one.others]} for one in told]
    return {"content": content, "refusal": None}


def _chance(chance: Chance) -> dict[str, Any]:
    return {"token": chance.token, "logprob": chance.logprob, "bytes": list(chance.token.encode())}


def text_choice(frame: Frame, pieces: Sequence[Piece], index: int, before: str = "") -> dict[str, Any]:
    """A choice of a ``text_completion``; ``before``: the prompt, where it is to be repeated."""
    text, told, luthier = joined(pieces)
    probabilities = text_probabilities(told, len(before)) if frame.probabilities else None
    choice = {"index": index, "text": before + text, "logprobs": probabilities, "finish_reason": pieces[-1].finish_reason or None}
    return choice | ({"luthier": luthier} if luthier else {})


def text_probabilities(told: Sequence[Told], offset: int) -> dict[str, Any]:
    """``logprobs`` as the older call has them: lists that stand beside each other."""
    starts = []
    for one in told:
        starts.append(offset)
        offset += len(one.chance.token)
    return {
        "tokens": [one.chance.token for one in told],
        "token_logprobs": [one.chance.logprob for one in told],
        "top_logprobs": [{other.token: other.logprob for other in one.others} for one in told],
        "text_offset": starts,
    }


def as_json(value: Any) -> Response:
    """The whole answer."""
    return Response(json.dumps(value, ensure_ascii=False), media_type="application/json")


# -- streams ----------------------------------------------------------------------------------------------------------


async def chat_chunks(frame: Frame, pieces: AsyncIterator[Piece], *, with_usage: bool) -> AsyncIterator[dict[str, Any]]:
    """A ``chat.completion.chunk`` with the role, one a piece, one with why it ended, and one with the tokens if wanted."""
    empty = {"usage": None} if with_usage else {}

    def chunk(delta: dict[str, Any], probabilities: Any = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": probabilities, "finish_reason": finish}
        return frame.object([choice], chunk=True, **empty, **more)

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    seen: list[Piece] = []
    async for piece in pieces:
        seen.append(piece)
        if piece.text:
            yield chunk({"content": piece.text}, chat_probabilities(frame, piece.told))
        if piece.tool_calls:
            yield chunk({"tool_calls": [{"index": index, **call} for index, call in enumerate(piece.tool_calls)]})
        if piece.finish_reason:
            yield chunk({}, finish=piece.finish_reason, luthier=piece.luthier)
    if with_usage:
        yield frame.object([], chunk=True, usage=usage(seen))


async def text_chunks(frame: Frame, answers: Sequence[AsyncIterator[Piece]], *, with_usage: bool) -> AsyncIterator[dict[str, Any]]:
    """A ``text_completion`` a piece, one prompt after the other."""
    empty = {"usage": None} if with_usage else {}
    seen: list[Piece] = []
    for index, pieces in enumerate(answers):
        async for piece in pieces:
            seen.append(piece)
            yield frame.object([text_choice(frame, [piece], index)], chunk=True, **empty)
    if with_usage:
        yield frame.object([], chunk=True, usage=usage(seen))


def as_stream(chunks: AsyncIterator[dict[str, Any]]) -> Response:
    """The chunks as server-sent events. An error in the middle is a last frame with ``error``, which clients raise."""
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(_events(chunks), media_type="text/event-stream; charset=utf-8", headers=headers)


async def _events(chunks: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    try:
        async for chunk in chunks:
            yield _event(chunk)
        yield b"data: [DONE]\n\n"
    except LuthierError as error:
        yield _event(errors.body(errors.status_of(error), error.message, error.code, error.hint))
    except Exception:
        LOG.exception("a stream broke off")
        yield _event(errors.body(500, "the server met a defect of its own", "internal", "the request id finds it in the server's log"))


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


async def begun(pieces: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    """The same pieces, the first of which is there already: what a caller did wrong has been raised before the stream begins."""
    first = await anext(pieces)

    async def again() -> AsyncIterator[Piece]:
        yield first
        async for piece in pieces:
            yield piece

    return again()
