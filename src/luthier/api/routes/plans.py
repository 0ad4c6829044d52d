"""The route of plans: what a recipe would do. Nothing runs and nothing is written."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import Field

from luthier.api.access import MayTrain
from luthier.api.requests import Body
from luthier.api.routes import OWN
from luthier.app.dry_run import dry_run
from luthier.core.plan import Plan

PREFIXES = OWN
routes = APIRouter(prefix="/plans", tags=["plans"])

Fields = dict[str, Any]


class Recipe(Body):
    """A recipe as in a YAML file; its data are ids of uploaded files, or ``made:NAME``. ``docs/recipes.md`` has every field."""

    name: str = Field(default="", max_length=200)
    task: str = Field(default="text-classification", max_length=100)
    model: str = Field(default="all-minilm-l6-v2", max_length=200)
    executor: str = Field(default="local", max_length=100)
    ask: list[str] = Field(default_factory=list, max_length=256)
    data: Fields = Field(default_factory=dict)
    prepare: Fields = Field(default_factory=dict)
    train: Fields = Field(default_factory=dict)
    evaluate: Fields = Field(default_factory=dict)
    export: Fields = Field(default_factory=dict)
    deploy: Fields = Field(default_factory=dict)


@routes.post("", response_model=Plan)
def plan(body: Recipe, caller: MayTrain) -> Plan:
    """The plan: every value, and where it came from."""
    return dry_run(caller.service, body.model_dump(exclude_unset=True))
