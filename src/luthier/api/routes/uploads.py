"""Uploads: large files in parts, as OpenAI's and Azure's clients send them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from luthier.api.access import MayTrain
from luthier.api.multipart import receive
from luthier.api.requests import Body
from luthier.api.routes import OPENAI
from luthier.api.routes.files import File, arriving, form_of
from luthier.app.uploads import LARGEST_BYTES, LARGEST_PART_BYTES

PREFIXES = OPENAI
routes = APIRouter(prefix="/uploads", tags=["uploads"])


class ExpiresAfter(Body):
    """When the file that comes of it goes."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=2_592_000)]


class UploadRequest(Body):
    """The file that is going to come."""

    bytes: Annotated[int, Field(ge=1, le=LARGEST_BYTES)]
    filename: Annotated[str, Field(min_length=1, max_length=1000)]
    mime_type: Annotated[str, Field(min_length=1, max_length=200)]
    purpose: Literal["assistants", "batch", "evals", "fine-tune", "user_data", "vision"]
    expires_after: ExpiresAfter | None = None


class Completion(Body):
    """The parts in their order; ``md5`` (hex) of the whole file is compared when it is given."""

    part_ids: Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=100_000)]
    md5: Annotated[str, Field(max_length=100)] | None = None


class Upload(BaseModel):
    """A file that comes in parts; ``file`` is there once it is completed."""

    id: str
    object: Literal["upload"]
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["pending", "completed", "cancelled", "expired"]
    expires_at: int
    file: File | None


class Part(BaseModel):
    """A part that was kept."""

    id: str
    object: Literal["upload.part"]
    created_at: int
    upload_id: str


_PART: dict[str, Any] = form_of(("data",), {"data": {"type": "string", "format": "binary"}})


@routes.post("", response_model=Upload)
def create(caller: MayTrain, body: UploadRequest) -> Response:
    """Announces a file of up to 8 GB."""
    expires = body.expires_after.model_dump() if body.expires_after else None
    made = caller.service.uploads.create(body.filename, body.purpose, body.bytes, body.mime_type, expires)
    return JSONResponse(made.as_object())


@routes.post("/{upload}/parts", response_model=Part, openapi_extra=_PART)
async def part(upload: str, caller: MayTrain, request: Request) -> Response:
    """Keeps a part of up to 64 MB."""
    uploads = caller.service.uploads
    await run_in_threadpool(uploads.pending, upload)
    async with arriving(uploads.files.incoming()) as coming:
        await receive(request, coming, file_field="data", most_bytes=LARGEST_PART_BYTES)
        made = await run_in_threadpool(uploads.keep_part, upload, coming)
    return JSONResponse(made.as_object())


@routes.post("/{upload}/complete", response_model=Upload)
def complete(upload: str, caller: MayTrain, body: Completion) -> Response:
    """Joins the parts to a file, which is checked as if it had come whole."""
    made = caller.service.uploads.complete(upload, body.part_ids, body.md5 or "")
    if made.file is not None and made.file.status == "uploaded":
        caller.service.files.check_soon()
    return JSONResponse(made.as_object())


@routes.post("/{upload}/cancel", response_model=Upload)
def cancel(upload: str, caller: MayTrain) -> Response:
    """Forgets the parts."""
    return JSONResponse(caller.service.uploads.cancel(upload).as_object())
