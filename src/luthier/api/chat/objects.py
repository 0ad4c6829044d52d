"""What ``/openapi.json`` says of the answers to chats, completions and embeddings (they are written without these classes)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class _Object(BaseModel):
    model_config = ConfigDict(extra="allow")


class Usage(_Object):
    """Tokens read and written."""

    prompt_tokens: int
    total_tokens: int


class ChatMessage(_Object):
    """What the model said."""

    role: Literal["assistant"]
    content: str | None
    tool_calls: list[dict[str, Any]] = []


class ChatChoice(_Object):
    """One answer to a chat."""

    index: int
    message: ChatMessage
    logprobs: dict[str, Any] | None
    finish_reason: str


class ChatCompletion(_Object):
    """The answer to a chat; ``luthier`` holds confidence and abstention."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    system_fingerprint: str
    luthier: dict[str, Any]


class TextChoice(_Object):
    """One answer to a prompt."""

    index: int
    text: str
    logprobs: dict[str, Any] | None
    finish_reason: str | None


class TextCompletion(_Object):
    """The answers to prompts."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage
    system_fingerprint: str


class Vector(_Object):
    """One embedding: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Vectors(_Object):
    """The embeddings, in the order of the inputs."""

    object: Literal["list"]
    data: list[Vector]
    model: str
    usage: Usage


def answered(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """A route's ``responses``: the object, or a stream of server-sent events."""
    return {200: {"model": model, "content": {"text/event-stream": {"schema": {"type": "string"}}}}}
