"""Files, as OpenAI's and Azure's clients send and ask for them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from luthier.api.access import MayRead, MayTrain
from luthier.api.multipart import receive
from luthier.api.requests import Body
from luthier.api.routes import OPENAI
from luthier.app.file_names import LONGEST_LIFE_S, PURPOSES, SHORTEST_LIFE_S, check_purpose
from luthier.core.errors import InputError, SpecError
from luthier.store.blobs import Incoming

PREFIXES = OPENAI
routes = APIRouter(prefix="/files", tags=["files"])

LARGEST_BYTES = 512 * 1024**2
"""Larger files come in parts: ``/uploads``."""

Purpose = Literal[
    "assistants", "assistants_output", "batch", "batch_output", "evals", "fine-tune", "fine-tune-results", "user_data", "vision"
]


class File(BaseModel):
    """A file. ``status`` is uploaded (not checked yet), processed or error; ``status_details`` names what is wrong, by line."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["uploaded", "processed", "error", "pending", "running", "deleting", "deleted"]
    status_details: str | None
    expires_at: int | None


class FileList(BaseModel):
    """Files in order; ``last_id`` is the ``after`` of the next page."""

    object: Literal["list"]
    data: list[File]
    has_more: bool
    first_id: str | None
    last_id: str | None


class FileDeleted(BaseModel):
    """The file is gone."""

    id: str
    object: Literal["file"]
    deleted: Literal[True]


class FileImport(Body):
    """What Azure's import call sends."""

    purpose: str = Field(max_length=100)
    filename: str = Field(max_length=1000)
    content_url: str = Field(max_length=10_000)


def form_of(required: tuple[str, ...], properties: dict[str, Any]) -> dict[str, Any]:
    """The description of a multipart body, which the routes read as a stream and FastAPI therefore does not know."""
    schema = {"type": "object", "required": list(required), "properties": properties}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


_FORM = form_of(
    ("file", "purpose"),
    {
        "file": {"type": "string", "format": "binary"},
        "purpose": {"type": "string", "enum": list(PURPOSES)},
        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
        "expires_after[seconds]": {"type": "integer", "minimum": SHORTEST_LIFE_S, "maximum": LONGEST_LIFE_S},
    },
)


@contextlib.asynccontextmanager
async def arriving(opening: contextlib.AbstractContextManager[Incoming]) -> AsyncIterator[Incoming]:
    """A place to write to, opened and left in a thread: both touch the disk and the database."""
    coming = await run_in_threadpool(opening.__enter__)
    try:
        yield coming
    finally:
        # Not in a thread: a client that went away cancels whatever is awaited, and what it left must go all the same.
        opening.__exit__(None, None, None)


def expiry(fields: Mapping[str, str]) -> dict[str, Any] | None:
    """``expires_after[anchor]`` and ``expires_after[seconds]`` as one object; raises ``SpecError``."""
    given = {key[14:-1]: value for key, value in fields.items() if key.startswith("expires_after[") and key.endswith("]")}
    if not given:
        return None
    seconds = given.get("seconds", "")
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) < 10):
        raise SpecError("expires_after.seconds", f"is {seconds[:40]!r}", f"use a whole number from {SHORTEST_LIFE_S} to {LONGEST_LIFE_S}")
    return {"anchor": given.get("anchor", "created_at"), "seconds": int(seconds)}


@routes.post("", response_model=File, openapi_extra=_FORM)
async def create(caller: MayTrain, request: Request) -> Response:
    """Keeps a file and checks it; a large one is checked soon afterwards (its status is ``uploaded`` until then)."""
    files = caller.service.files
    async with arriving(files.incoming()) as coming:
        form = await receive(request, coming, most_bytes=LARGEST_BYTES)
        purpose = form.needed("purpose")
        check_purpose(purpose, PURPOSES)
        info = await run_in_threadpool(files.keep, coming, form.filename, purpose, expiry(form.fields))
    if info.status == "uploaded":
        files.check_soon()
    return JSONResponse(info.as_object())


@routes.get("", response_model=FileList)
def listed(
    caller: MayRead,
    purpose: Annotated[Purpose | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
    after: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Files, newest first, from behind the file ``after``."""
    page = caller.service.files.list(purpose or "", limit, order, after)
    data = [info.as_object() for info in page.files]
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return JSONResponse({"object": "list", "data": data, "has_more": page.has_more} | ends)


@routes.post("/import", response_model=File)
def imported(caller: MayTrain, body: FileImport) -> Response:
    """Refuses Azure's import by address: a server that fetches what a caller names can be sent to addresses that only it reaches."""
    raise InputError("content_url: this server fetches no files", f"download {body.filename[:100]!r} and upload it: POST /openai/files")


@routes.get("/{file}", response_model=File)
def one(file: str, caller: MayRead) -> Response:
    """One file; ``facts`` say what its check found (kind, rows, labels)."""
    info = caller.service.files.get(file)
    return JSONResponse(info.as_object() | {"facts": info.facts})


@routes.get("/{file}/content", response_class=Response, responses={200: {"content": {"application/octet-stream": {}}}})
def content(file: str, caller: MayRead) -> Response:
    """The bytes of a file."""
    files = caller.service.files
    info = files.get(file)
    headers = {
        "content-disposition": f"attachment; filename*=UTF-8''{quote(info.filename)}",
        "content-length": str(info.size_bytes),
        "x-content-type-options": "nosniff",
    }
    return StreamingResponse(files.content(file), 200, headers, "application/octet-stream")


@routes.delete("/{file}", response_model=FileDeleted)
def delete(file: str, caller: MayTrain) -> Response:
    """Deletes a file that no unfinished job needs."""
    caller.service.files.delete(file)
    return JSONResponse({"id": file, "object": "file", "deleted": True})
