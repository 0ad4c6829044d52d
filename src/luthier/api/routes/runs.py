"""The routes of runs: which recipes ran, and how their jobs ended."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from luthier.api.access import MayRead
from luthier.api.pages import After, Limit, Named, Page
from luthier.api.routes import OWN
from luthier.app.records import Records

PREFIXES = OWN
routes = APIRouter(prefix="/runs", tags=["runs"])


class Job(BaseModel):
    """One stage of a run. ``artifact``: what it made; ``error``: why it failed ({} when it did not)."""

    id: str
    stage: str
    state: str
    artifact: str
    error: dict[str, Any]
    updated_at: int


class Run(BaseModel):
    """A recipe that was run."""

    id: str
    object: Literal["run"]
    name: str
    state: str
    created_at: int
    finished_at: int | None
    jobs: list[Job]


class Whole(Run):
    """A run with its plan."""

    plan: dict[str, Any]


@routes.get("", response_model=Page[Run])
def runs(caller: MayRead, limit: Limit = 20, after: After = "") -> dict[str, Any]:
    """A page of the runs, newest first."""
    return Records(caller.service).runs(limit, after)


@routes.get("/{run}", response_model=Whole)
def run(run: Named, caller: MayRead) -> dict[str, Any]:
    """A run with its jobs and its plan."""
    return Records(caller.service).run(run)
