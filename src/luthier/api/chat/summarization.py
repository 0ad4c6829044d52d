"""A summarizer's answer to a chat or a prompt: what the user said last is the document."""

from __future__ import annotations

from collections.abc import AsyncIterator

from luthier.api.chat.chat import last, refuse_logprobs
from luthier.api.chat.pieces import Asked, Piece
from luthier.api.opening import Opened
from luthier.formats import openai_chat
from luthier.stages.serve.writing import sampling


async def answer(model: Opened, asked: Asked) -> AsyncIterator[Piece]:
    """A piece a token."""
    refuse_logprobs(asked)
    text = asked.prompt if asked.messages is None else openai_chat.asked(asked.messages)
    (example,) = model.task.request({"text": text})
    async for said in model.stream(example, sampling(asked.settings)):
        if said.answered is not None:
            yield last(said.text, said.finish, said.answered)
        elif said.text:
            yield Piece(text=said.text)
