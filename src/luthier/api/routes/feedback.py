"""The routes of feedback: what people said of an endpoint's answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from luthier.api.access import MayInfer, MayRead
from luthier.api.pages import PLAIN, After, Limit, Page
from luthier.api.requests import Body
from luthier.api.routes import OWN
from luthier.app.records import Records

PREFIXES = OWN
routes = APIRouter(prefix="/feedback", tags=["feedback"])

Label = Annotated[str, Field(max_length=2000)]


class Judgement(Body):
    """A person's judgement of one answer: thumbs, the right output, or a comment; one of them at least."""

    endpoint: str = Field(min_length=1, max_length=40)
    id: str = Field(min_length=1, max_length=200, description="the answer's id")
    thumbs: Literal["up", "down", ""] = ""
    right: Label | Annotated[list[Label], Field(max_length=1000)] | None = Field(default=None, description="the right label, or labels")
    comment: str = Field(default="", max_length=2000, description="kept with personal data masked")


class Kept(BaseModel):
    """What was kept."""

    id: str
    kept: bool


class Feedback(BaseModel):
    """A kept judgement; ``answer`` is the id of the answer that was judged."""

    id: str
    object: Literal["feedback"]
    created_at: int
    endpoint: str
    answer: str
    thumbs: str
    right: str | list[str] | None
    comment: str


@routes.post("", status_code=202, response_model=Kept)
def judge(body: Judgement, caller: MayInfer) -> dict[str, Any]:
    """Keeps a judgement in the journal: ``right`` must be a label of the endpoint, the comment is masked."""
    caller.service.feedback(body.endpoint, body.id, thumbs=body.thumbs, right=body.right, comment=body.comment)
    caller.request.app.state.measures.feedback.labels(body.endpoint, body.thumbs or "none").inc()
    return {"id": body.id, "kept": True}


@routes.get("", response_model=Page[Feedback])
def feedback(
    caller: MayRead, endpoint: Annotated[str, Query(max_length=40, pattern=PLAIN)], limit: Limit = 20, after: After = ""
) -> dict[str, Any]:
    """A page of an endpoint's judgements, newest first."""
    return Records(caller.service).judgements(endpoint, limit, after)
