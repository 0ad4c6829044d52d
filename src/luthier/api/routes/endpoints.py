"""The routes of endpoints: what is served, predict, feedback."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from luthier.api.access import MayInfer, MayRead, admission
from luthier.api.multipart import InMemory, receive
from luthier.api.opening import asked, tell
from luthier.api.requests import LARGEST_BYTES, json_body
from luthier.api.routes import OWN
from luthier.core.errors import InputError
from luthier.core.images import FIELD, to_data_url
from luthier.stages.serve.feedback import judgement
from luthier.stages.serve.host import Hosted

PREFIXES = OWN
routes = APIRouter(prefix="/endpoints", tags=["endpoints"])

MOST = 256
"""Examples in one call."""

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "text": {"type": "string"},
                        "texts": {"type": "array", "items": {"type": "string"}, "maxItems": MOST},
                        "scores": {"type": "boolean", "default": False},
                        "user": {"type": "string", "description": "is answered by the same version each time"},
                    },
                }
            },
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["image"], "properties": {"image": {"type": "string", "format": "binary"}}}
            },
        },
    }
}


Label = Annotated[str, Field(max_length=2000)]


class Feedback(BaseModel):
    """A person's judgement of one answer: thumbs, the right output, or a comment; one of them at least."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, max_length=200, description="the answer's id")
    thumbs: Literal["up", "down", ""] = ""
    right: Label | Annotated[list[Label], Field(max_length=1000)] | None = Field(default=None, description="the right label, or labels")
    comment: str = Field(default="", max_length=2000, description="kept with personal data masked")


_FEEDBACK = {"requestBody": {"required": True, "content": {"application/json": {"schema": Feedback.model_json_schema()}}}}


@routes.get("")
async def endpoints(caller: MayRead) -> dict[str, Any]:
    """Every endpoint that is served."""
    return {"endpoints": [_about(hosted) for hosted in caller.host.all()], "problems": caller.host.problems}


@routes.get("/{name}")
async def endpoint(name: str, caller: MayRead) -> dict[str, Any]:
    """One endpoint: its task, labels, model and runtime."""
    hosted = caller.host.get(name)
    return _about(hosted) | {"labels": hosted.endpoint.schema.get("labels", [])}


@routes.post("/{name}/predict", openapi_extra=_BODY)
async def predict(name: str, request: Request, caller: MayInfer) -> Response:
    """Answers a text, or several: ``{"text": ...}`` or ``{"texts": [...]}``, and ``"scores": true`` for every class's.

    A picture may come as a form's file ``image``.
    """
    host = caller.host
    host.get(name)
    multipart = request.headers.get("content-type", "").lower().startswith("multipart/")
    body = await _picture(request) if multipart else await json_body(request)
    user = body.pop("user", "")
    if not isinstance(user, str):
        raise InputError("user: is not a text", "leave it out, or send a text that is the same for one user")
    ask = asked(caller, name, user)
    task = host.get(name, ask).endpoint.task
    wants_scores = body.get("scores", False)
    if not isinstance(wants_scores, bool):
        raise InputError(f"scores: is {wants_scores!r}, not true or false", "leave it out, or send true")
    examples = task.request(body)
    if len(examples) > MOST:
        raise InputError(f"texts: {len(examples)} in one call, the most is {MOST}", "send them in several calls")
    hosted, answers = await host.predict_by(name, examples, ask)
    tell(admission(request.scope).headers, hosted)
    shaped = [task.answer(one.prediction, scores=wants_scores) | {"latency_ms": round(one.latency_ms, 2)} for one in answers]
    single = len(shaped) == 1 and "texts" not in body
    return Response(json.dumps(shaped[0] if single else {"answers": shaped}, ensure_ascii=False), media_type="application/json")


@routes.post("/{name}/feedback", status_code=202, openapi_extra=_FEEDBACK)
async def feedback(name: str, request: Request, caller: MayInfer) -> dict[str, Any]:
    """Keeps a judgement in the journal: ``right`` must be a label of the endpoint, the comment is masked."""
    host = caller.host
    endpoint = host.get(name).endpoint
    given = _feedback(await json_body(request, '{"id": "...", "thumbs": "up"}'))
    event = judgement(
        name,
        given.id,
        thumbs=given.thumbs,
        right=given.right,
        comment=given.comment,
        schema=endpoint.schema,
        masking=endpoint.masking,
    )
    await run_in_threadpool(host.journal.append, [event])
    request.app.state.measures.feedback.labels(name, given.thumbs or "none").inc()
    return {"id": given.id, "kept": True}


async def _picture(request: Request) -> dict[str, Any]:
    """A form's picture, as JSON would hold it."""
    coming = InMemory()
    await receive(request, coming, file_field=FIELD, most_bytes=LARGEST_BYTES)
    return {FIELD: to_data_url(bytes(coming.data))}


def _feedback(body: dict[str, Any]) -> Feedback:
    """Read here and not by FastAPI, whose own reader takes a body of any size."""
    try:
        return Feedback.model_validate(body)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None


def _about(hosted: Hosted) -> dict[str, Any]:
    info, facts = hosted.info, hosted.endpoint.facts
    return {
        "name": info.name,
        "task": info.task,
        "export": info.export_id,
        "model": info.model_id,
        "version": hosted.version,
        "runtime": facts.get("runtime", ""),
        "workers": hosted.endpoint.workers,
        "waiting": hosted.endpoint.waiting,
    }
