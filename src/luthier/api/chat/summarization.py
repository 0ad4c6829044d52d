"""A summarizer's answer to a chat or a prompt: what the user said last is the document."""

from __future__ import annotations

from collections.abc import AsyncIterator

from luthier.api.chat.chat import written
from luthier.api.chat.pieces import Asked, Piece
from luthier.api.opening import Opened
from luthier.formats import openai_chat


async def answer(model: Opened, asked: Asked) -> AsyncIterator[Piece]:
    """A piece a token."""
    text = asked.prompt if asked.messages is None else openai_chat.asked(asked.messages)
    (example,) = model.task.request({"text": text})
    async for piece in written(model, example, asked):
        yield piece
