"""What ``/openapi.json`` says of errors: one shape for every route, declared once (``routes.include`` adds it to each)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class Problem(BaseModel):
    """What was wrong: the first four fields are OpenAI's, ``hint`` is the remedy, the others are Azure's."""

    message: str
    type: str
    param: str | None
    code: str
    hint: str
    target: str | None
    details: list[Any]
    innererror: dict[str, Any]


class Failed(BaseModel):
    """The answer to a request that failed."""

    error: Problem


FAILURES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Failed, "description": "what was sent cannot be used; `error.hint` says the remedy"},
    "5XX": {"model": Failed, "description": "the server cannot answer now"},
}
"""A route's ``responses``, before its own."""
