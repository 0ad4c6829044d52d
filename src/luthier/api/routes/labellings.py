"""The routes of labellings: what to label next, accept, correct, skip, undo, how far people agree, and what comes out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from luthier.api.access import Caller, MayRead, MayTrain
from luthier.api.pages import PLAIN, After, Limit, Named, Page
from luthier.api.requests import Body
from luthier.api.routes import OWN
from luthier.labelling.outgoing import ENDINGS

PREFIXES = OWN
routes = APIRouter(prefix="/labellings", tags=["labellings"])

MOST = 1000
"""Rows, or labels, in one call."""

Name = Annotated[str, Field(min_length=1, max_length=200)]
Author = Annotated[str, Field(max_length=200, description="who says it; empty: the key that asks")]
AuthorOf = Annotated[str, Query(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", description="who labels; empty: the key that asks")]
Value = Annotated[Any, Field(description="by kind: a label, a list of labels, or a list of {start, end, label}")]


class NewLabelling(Body):
    """A labelling that is to be made; its rows are sent next. ``model``: a trained model or an endpoint that suggests."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    kind: Literal["label", "labels", "spans"] = "label"
    labels: Annotated[list[Name], Field(default_factory=list, max_length=10_000)]
    encoder: Annotated[str, Field(max_length=200, description="a base encoder of the catalog; empty: all-minilm-l6-v2")] = ""
    model: Annotated[str, Field(max_length=200)] = ""
    dataset: Annotated[str, Field(max_length=200, description="the dataset that the rows came from")] = ""
    author: Author = ""


class GivenLabel(Body):
    """A label that came with a row. ``at``: seconds since 1970."""

    author: Author = ""
    at: float | None = None
    value: Value


class NewRow(Body):
    """A message, perhaps with labels that it has already."""

    text: Annotated[str, Field(max_length=100_000)]
    columns: dict[str, Any] = Field(default_factory=dict)
    source: Annotated[str, Field(max_length=1000)] = ""
    label: Value = None
    labels: Value = None
    entities: Value = None
    annotations: Annotated[list[GivenLabel], Field(default_factory=list, max_length=100)]


class NewRows(Body):
    """Messages; one that is there already is not added again."""

    rows: Annotated[list[NewRow], Field(min_length=1, max_length=MOST)]
    author: Author = ""


class Said(Body):
    """What is said of one row. ``accept`` without a value: what was suggested; ``new``: a label that nobody used before."""

    row: Name
    verb: Literal["accept", "correct", "skip", "settle"] = "correct"
    value: Value = None
    suggested: dict[str, Any] = Field(default_factory=dict)
    new: bool = False


class Labels(Body):
    """What an author says of rows: all is kept, or nothing."""

    labels: Annotated[list[Said], Field(min_length=1, max_length=MOST)]
    author: Author = ""


class Undo(Body):
    """Whose last label is taken back."""

    author: Author = ""


class Share(Body):
    """How many more rows every author is given."""

    count: Annotated[int, Field(ge=1, le=10_000)] = 50
    author: Author = ""


class Labelling(BaseModel):
    """What is labelled. ``labels``: those that were declared or used."""

    id: str
    object: Literal["labelling"]
    name: str
    kind: Literal["label", "labels", "spans"]
    labels: list[str]
    encoder: str
    model: str
    dataset: str
    author: str
    created_at: int


class Progressed(Labelling):
    """How far it is: ``progress`` counts rows, ``vectors`` and ``answers`` how many are computed, and what stands in the way."""

    progress: dict[str, int]
    accepted_share: float | None
    authors: list[dict[str, Any]]
    vectors: dict[str, Any]
    answers: dict[str, Any] | None


class Asked(BaseModel):
    """A row to label. ``shared``: every author gets it, without a suggestion."""

    id: str
    object: Literal["labelling.row"]
    text: str
    columns: dict[str, Any]
    shared: bool
    suggestion: dict[str, Any] | None
    nearest: list[dict[str, Any]]


class Progress(BaseModel):
    """How far an author is; ``left_s`` and ``seconds_a_label`` are null until two labels are there."""

    object: Literal["labelling.progress"]
    author: str
    done: int
    left: int
    seconds_a_label: float | None
    left_s: float | None
    accepted_share: float | None


class Undone(Progress):
    """The same after an undo; ``undone`` is the label that was taken back."""

    undone: dict[str, Any]


class Label(BaseModel):
    """One row of the log. ``undoes``: the label that an undo takes back."""

    id: str
    object: Literal["labelling.label"]
    row: str
    author: str
    at: float
    verb: Literal["accept", "correct", "skip", "undo", "settle", "share"]
    value: Any
    suggested: dict[str, Any]
    undoes: str | None


class Added(BaseModel):
    """What came of the rows that were sent; ``refusals``: the first 20 that could not be used."""

    added: int
    known: int
    labels: int
    refused: int
    refusals: list[dict[str, Any]]


class Shared(BaseModel):
    """The rows that every author is given now."""

    shared: int
    rows: list[str]


class Doubts(BaseModel):
    """Labels that are likely wrong: ``rows`` has what was given, what is suggested, and the chances of both."""

    found: int
    share: float
    rows: list[dict[str, Any]]


class Deleted(BaseModel):
    """What was removed."""

    id: str
    deleted: bool


def _who(caller: Caller, author: str) -> str:
    return author or caller.key or "default"


@routes.get("", response_model=Page[Labelling])
def labellings(caller: MayRead, limit: Limit = 20, after: After = "") -> dict[str, Any]:
    """A page of the labellings, newest first."""
    return caller.service.labellings.page(limit, after)


@routes.post("", status_code=201, response_model=Labelling)
def create(body: NewLabelling, caller: MayTrain) -> dict[str, Any]:
    """Makes a labelling without rows."""
    given = body.model_dump() | {"author": _who(caller, body.author)}
    caller.service.labellings.create(given.pop("name"), **given)
    return caller.service.labellings.get(body.name)


@routes.get("/{labelling}", response_model=Progressed)
def labelling(labelling: Named, caller: MayRead) -> dict[str, Any]:
    """One labelling, and how far it is."""
    return caller.service.labellings.get(labelling)


@routes.delete("/{labelling}", response_model=Deleted)
def delete(labelling: Named, caller: MayTrain) -> dict[str, Any]:
    """Removes a labelling with its rows and its labels."""
    caller.service.labellings.delete(labelling)
    return {"id": labelling, "deleted": True}


@routes.post("/{labelling}/rows", response_model=Added)
def add(labelling: Named, body: NewRows, caller: MayTrain) -> dict[str, Any]:
    """Adds messages; personal data in them is masked, unless spans are labelled."""
    rows = [row.model_dump(exclude_none=True) for row in body.rows]
    return caller.service.labellings.add(labelling, rows, _who(caller, body.author))


@routes.get("/{labelling}/next", response_model=Page[Asked])
def following(labelling: Named, caller: MayRead, author: AuthorOf = "", count: Annotated[int, Query(ge=1, le=100)] = 1) -> dict[str, Any]:
    """The rows to label next, the most useful first, with a suggestion and the labelled rows that are nearest; empty when all are done."""
    found = [asked.as_json() for asked in caller.service.labellings.next(labelling, _who(caller, author), count)]
    first, last = (found[0]["id"], found[-1]["id"]) if found else (None, None)
    return {"object": "list", "data": found, "has_more": False, "first_id": first, "last_id": last}


@routes.get("/{labelling}/progress", response_model=Progress)
def progress(labelling: Named, caller: MayRead, author: AuthorOf = "") -> dict[str, Any]:
    """How far an author is, and how long the rest will take."""
    return caller.service.labellings.progress(labelling, _who(caller, author))


@routes.get("/{labelling}/labels", response_model=Page[Label])
def history(labelling: Named, caller: MayRead, limit: Limit = 20, after: After = "") -> dict[str, Any]:
    """A page of everything that was said, newest first: nothing is overwritten."""
    return caller.service.labellings.history(labelling, limit, after)


@routes.post("/{labelling}/labels", response_model=Progress)
def say(labelling: Named, body: Labels, caller: MayTrain) -> dict[str, Any]:
    """Accepts, corrects, skips or settles rows."""
    return caller.service.labellings.say(labelling, _who(caller, body.author), [one.model_dump() for one in body.labels])


@routes.post("/{labelling}/undo", response_model=Undone)
def undo(labelling: Named, body: Undo, caller: MayTrain) -> dict[str, Any]:
    """Takes the author's last label back, by a new row of the log."""
    return caller.service.labellings.undo(labelling, _who(caller, body.author))


@routes.post("/{labelling}/share", response_model=Shared)
def share(labelling: Named, body: Share, caller: MayTrain) -> dict[str, Any]:
    """Gives more rows, drawn at random, to every author, so that their agreement can be measured."""
    return caller.service.labellings.share(labelling, body.count, _who(caller, body.author))


@routes.get("/{labelling}/agreement")
def agreement(labelling: Named, caller: MayRead) -> dict[str, Any]:
    """Cohen's kappa of each two authors, and the rows on which they differ."""
    return {"object": "labelling.agreement", "pairs": list(caller.service.labellings.agreement(labelling))}


@routes.get("/{labelling}/doubts", response_model=Doubts)
def doubts(labelling: Named, caller: MayRead) -> dict[str, Any]:
    """Labels that are likely wrong, by models that have not seen the row."""
    return caller.service.labellings.doubts(labelling)


@routes.get("/{labelling}/export", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def export(labelling: Named, caller: MayRead, form: Annotated[str, Query(max_length=20, pattern=PLAIN, alias="as")] = "jsonl") -> Response:
    """The labels as a file: ``jsonl``, ``csv``, ``label-studio`` or ``conll``."""
    chosen, text = caller.service.labellings.export(labelling, form)
    headers = {"content-disposition": f'attachment; filename="{labelling}{ENDINGS[chosen]}"', "x-content-type-options": "nosniff"}
    return Response(text, media_type="text/plain; charset=utf-8", headers=headers)


@routes.post("/{labelling}/file", status_code=201)
def file(labelling: Named, caller: MayTrain) -> dict[str, Any]:
    """Puts the labels among the uploaded files, as JSONL with the purpose ``fine-tune``: a fine-tuning job takes its id."""
    return caller.service.labellings.file(labelling)
