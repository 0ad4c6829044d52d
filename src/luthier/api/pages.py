"""Lists as every route under ``/api/v1`` answers them: a page, newest first, with a cursor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import Path, Query
from pydantic import BaseModel

from luthier.core.errors import UnknownName

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


def by_name(kind: str, found: Sequence[dict[str, Any]], limit: int, after: str) -> dict[str, Any]:
    """A page of objects that are listed by their ids; raises ``UnknownName`` for an ``after`` that is none of them."""
    names = [one["id"] for one in found]
    if after and after not in names:
        raise UnknownName.among(kind, after, names)
    rest = found[names.index(after) + 1 :] if after else found
    shown = rest[:limit]
    ends = {"first_id": shown[0]["id"], "last_id": shown[-1]["id"]} if shown else {"first_id": None, "last_id": None}
    return {"object": "list", "data": list(shown), "has_more": len(rest) > limit, **ends}


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
