"""Batches: files of requests that are answered when there is room, as OpenAI's and Azure's clients ask for them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query
from pydantic import BaseModel, ConfigDict

from luthier.api.access import MayInfer, MayReadOrInfer
from luthier.api.routes import OPENAI
from luthier.core.batch import BatchRequest

PREFIXES = OPENAI
routes = APIRouter(prefix="/batches", tags=["batches"])


class _Object(BaseModel):
    """An answer: more fields than these may come."""

    model_config = ConfigDict(extra="allow")


class Counts(_Object):
    """Requests of a batch: in all, answered, refused."""

    total: int
    completed: int
    failed: int


class Batch(_Object):
    """A batch."""

    id: str
    object: str
    endpoint: str
    errors: dict[str, Any] | None
    input_file_id: str
    completion_window: str
    status: str
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    expires_at: int
    request_counts: Counts
    metadata: dict[str, str] | None


class Batches(_Object):
    """Batches, newest first."""

    object: str
    data: list[Batch]
    has_more: bool
    first_id: str | None
    last_id: str | None


@routes.post("", response_model=Batch)
def create(
    caller: MayInfer,
    request: Annotated[BatchRequest, Body()],
    x_stainless_retry_count: Annotated[str, Header(max_length=10)] = "0",
) -> dict[str, Any]:
    """Creates a batch of an uploaded file of requests, which this server or another one works off."""
    service = caller.service
    return service.batches.create(request, service.files, repeated=x_stainless_retry_count not in ("", "0"))


@routes.get("", response_model=Batches)
def batches(
    caller: MayReadOrInfer,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    after: Annotated[str, Query(max_length=100)] = "",
) -> dict[str, Any]:
    """Batches newest first."""
    return caller.service.batches.list(limit, after)


@routes.get("/{batch}", response_model=Batch)
def batch(batch: str, caller: MayReadOrInfer) -> dict[str, Any]:
    """One batch."""
    return caller.service.batches.get(batch)


@routes.post("/{batch}/cancel", response_model=Batch)
def cancel(batch: str, caller: MayInfer) -> dict[str, Any]:
    """Ends a batch within seconds; what was answered is in its files."""
    return caller.service.batches.cancel(batch)
