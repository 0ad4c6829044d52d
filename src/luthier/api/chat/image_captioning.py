"""A captioner's answer to a chat: the user's last picture is what is looked at; what is said beside it is not read."""

from __future__ import annotations

from collections.abc import AsyncIterator

from luthier.api.chat.chat import written
from luthier.api.chat.pieces import Asked, Piece
from luthier.api.opening import Opened
from luthier.core.errors import InputError


async def answer(model: Opened, asked: Asked) -> AsyncIterator[Piece]:
    """A piece a token. Raises ``InputError`` where no picture was sent."""
    if asked.messages is None:
        raise InputError("prompt: a captioner is asked with a picture", "send a chat with an image_url that is a data URL")
    (example,) = model.task.request({"messages": asked.messages})
    async for piece in written(model, example, asked):
        yield piece
