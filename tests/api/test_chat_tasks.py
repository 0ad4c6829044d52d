"""Which file answers a chat for a model of a task."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from luthier.api import chat
from luthier.api.chat.chat import answer
from luthier.core.errors import InputError


def _model(task: str) -> Any:
    return SimpleNamespace(name="desk", hosted=SimpleNamespace(info=SimpleNamespace(task=task)))


def test_a_preference_tuned_model_answers_as_a_chat_model() -> None:
    assert chat.answers(_model("preference")) is chat.answers(_model("chat")) is answer


def test_a_task_without_chat_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="'desk' does language-modeling, which is no chat"):
        chat.answers(_model("language-modeling"))
