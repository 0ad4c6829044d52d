"""The preview of the loss mask: which messages of a file a training would learn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from luthier.api.access import MayRead
from luthier.api.routes import OWN
from luthier.app.tuning_spec import find_base
from luthier.catalog import cards
from luthier.core.errors import SpecError

PREFIXES = OWN
routes = APIRouter(prefix="/files", tags=["files"])


class MaskedMessage(BaseModel):
    """A message; ``trained`` says whether the model learns to say it. The text is shortened, the tokens are of all of it."""

    role: str
    trained: bool
    text: str
    tokens: int


class MaskedRow(BaseModel):
    """A row of the file."""

    line: int
    messages: list[MaskedMessage]


class LossMask(BaseModel):
    """The first rows, and sums over the whole file (``estimated``: extrapolated from its first 8 MB)."""

    file: str
    kind: str
    rows: list[MaskedRow]
    total_rows: int
    total_tokens: int
    trainable_tokens: int
    estimated: bool


@routes.get("/{file}/loss-mask", response_model=LossMask)
def loss_mask(
    file: str,
    caller: MayRead,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    model: Annotated[str, Query(max_length=200, description="count tokens as this model of the catalog does")] = "",
) -> dict[str, Any]:
    """Which messages are learned, row by row, before anything runs."""
    service = caller.service
    return service.files.loss_mask(file, _tokenizer(service.workspace, model) if model else None, limit)


def _tokenizer(workspace: Any, model: str) -> Path:
    """The folder of a model that is here already: a look must not start a download."""
    card = find_base(workspace, model).card
    usable, why_not = cards.availability(card)
    if not usable or card.source.kind == "hub":
        raise SpecError(
            "model", f"{model!r} is not on this server{': ' + why_not if why_not else ''}", "leave it out: tokens are then estimated"
        )
    return cards.locate(card)
