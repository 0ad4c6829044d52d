"""How models answer OpenAI's chat and completion calls: one file a task (``text_classification.py``), and one for what goes over the wire.

A task's file has ``answer(model, asked)``, an async generator of ``Piece``: one for a classifier, one a token for what generates text.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import AsyncIterator
from typing import Protocol

from luthier.api.chat.pieces import Asked, Piece
from luthier.api.opening import Opened
from luthier.core.errors import InputError


class Answers(Protocol):
    """What a task's file does."""

    def __call__(self, model: Opened, asked: Asked) -> AsyncIterator[Piece]:
        """The answer in pieces; the last one has a ``finish_reason``. Errors that a caller causes are raised before the first piece."""


def answers(model: Opened) -> Answers:
    """How the model's task answers; raises ``InputError`` for a task that has no chat."""
    name = f"{__name__}.{model.hosted.info.task.replace('-', '_')}"
    if importlib.util.find_spec(name) is None:
        raise InputError(f"model: {model.name!r} does {model.hosted.info.task}, which is no chat", "POST /api/v1/endpoints/{name}/predict")
    found: Answers = importlib.import_module(name).answer
    return found
