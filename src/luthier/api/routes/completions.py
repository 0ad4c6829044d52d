"""Completions: a prompt, or several, answered as the older call of OpenAI's clients has it."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.responses import Response

from luthier.api.access import Caller, MayInfer
from luthier.api.chat import answers, wire
from luthier.api.chat.bodies import CompletionRequest
from luthier.api.chat.objects import TextCompletion, answered
from luthier.api.chat.pieces import Asked, Piece
from luthier.api.opening import Opened, opened
from luthier.api.routes import OPENAI

PREFIXES = OPENAI
routes = APIRouter(tags=["inference"])


@routes.post("/completions", responses=answered(TextCompletion))
async def completions(body: CompletionRequest, caller: MayInfer) -> Response:
    """Answers a prompt, or each of several; a classifier's label is the text."""
    return await reply(caller, body.model, body)


async def reply(caller: Caller, name: str, body: CompletionRequest) -> Response:
    """The answers of the model with this name, whole or as a stream."""
    questions = body.asked()
    model = await opened(caller, name, body.user)
    frame = wire.Frame.new("text_completion", name, model.export, probabilities=body.logprobs is not None)
    if body.stream:
        streams = [answers(model)(model, asked) for asked in questions]
        streams[0] = await wire.begun(streams[0])
        return wire.as_stream(wire.text_chunks(frame, streams, with_usage=body.with_usage))
    every = await asyncio.gather(*(_all(model, asked) for asked in questions))
    echoed = [asked.prompt if body.echo else "" for asked in questions]
    choices = [wire.text_choice(frame, pieces, index, before) for index, (pieces, before) in enumerate(zip(every, echoed, strict=True))]
    return wire.as_json(frame.object(choices, usage=wire.usage([piece for pieces in every for piece in pieces])))


async def _all(model: Opened, asked: Asked) -> list[Piece]:
    return [piece async for piece in answers(model)(model, asked)]
