"""Chat completions: every tuned model, as OpenAI's clients ask."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from luthier.api.access import Caller, MayInfer
from luthier.api.chat import answers, wire
from luthier.api.chat.bodies import ChatRequest
from luthier.api.chat.objects import ChatCompletion, answered
from luthier.api.opening import opened
from luthier.api.routes import OPENAI

PREFIXES = OPENAI
routes = APIRouter(tags=["inference"])


@routes.post("/chat/completions", responses=answered(ChatCompletion))
async def chat_completions(body: ChatRequest, caller: MayInfer) -> Response:
    """Answers a chat. A classifier's label is the content; ``logprobs`` and ``luthier.confidence`` say how sure it is."""
    return await reply(caller, body.model, body)


async def reply(caller: Caller, name: str, body: ChatRequest) -> Response:
    """The answer of the model with this name, whole or as a stream."""
    asked = body.asked()
    model = await opened(caller, name, body.user)
    pieces = answers(model)(model, asked)
    frame = wire.Frame.new("chat.completion", name, model.export, probabilities=asked.alternatives >= 0)
    if body.stream:
        return wire.as_stream(wire.chat_chunks(frame, await wire.begun(pieces), with_usage=body.with_usage))
    return wire.as_json(wire.whole_chat(frame, [piece async for piece in pieces]))
