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
from luthier.catalog.card import ModelCard
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
    """A row of the file; ``label`` is the message that a classifier learns, counted from 0 (null: the file trains no classifier)."""

    line: int
    label: int | None
    messages: list[MaskedMessage]


class LossMask(BaseModel):
    """The first rows, and sums over the whole file (``estimated``: extrapolated from its first 8 MB). ``task`` is what would be trained."""

    file: str
    kind: str
    task: str
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
    model: Annotated[str, Query(max_length=200, description="what this model of the catalog would learn, in its own tokens")] = "",
) -> dict[str, Any]:
    """Which messages are learned, row by row, before anything runs."""
    service = caller.service
    if not model:
        return service.files.loss_mask(file, None, limit)
    card = find_base(service.workspace, model).card
    return service.files.loss_mask(file, _tokenizer(card, model), limit, card.architecture)


def _tokenizer(card: ModelCard, model: str) -> Path:
    """The folder of a model that is here already: a look must not start a download."""
    usable, why_not = cards.availability(card)
    if not usable or card.source.kind == "hub":
        raise SpecError(
            "model", f"{model!r} is not on this server{': ' + why_not if why_not else ''}", "leave it out: tokens are then estimated"
        )
    return cards.locate(card)
