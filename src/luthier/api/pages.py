"""Lists as every route under ``/api/v1`` answers them: a page, newest first, with a cursor."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import Path, Query
from pydantic import BaseModel

T = TypeVar("T")

PLAIN = r"^[^\x00-\x1f\x7f]+$"
"""No control character: databases refuse some of them, and no name has one."""

Named = Annotated[str, Path(max_length=200, pattern=PLAIN)]
"""An id or a name in an address."""

Limit = Annotated[int, Query(ge=1, le=100, description="most objects on the page")]
After = Annotated[
    str, Query(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", description="the last id that you have; empty: from the newest")
]


class Page(BaseModel, Generic[T]):
    """A list object. While ``has_more``, ask again with ``after=last_id``."""

    object: Literal["list"]
    data: list[T]
    has_more: bool
    first_id: str | None
    last_id: str | None


class Artifact(BaseModel):
    """A dataset, model, evaluation or export: written once, named by its content. ``summary`` holds the headline figures."""

    id: str
    object: Literal["artifact"]
    kind: str
    name: str
    created_at: int
    size_bytes: int
    parents: list[str]
    summary: dict[str, Any]
