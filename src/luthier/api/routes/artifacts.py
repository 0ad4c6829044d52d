"""The routes of artifacts: everything that was made, of any kind, and what it was made of."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from luthier.api.access import MayDeploy, MayRead
from luthier.api.pages import After, Artifact, Limit, Named, Page
from luthier.api.requests import Body
from luthier.api.routes import OWN
from luthier.app.records import Records

PREFIXES = OWN
routes = APIRouter(prefix="/artifacts", tags=["artifacts"])


class File(BaseModel):
    """One file of an artifact, by its path inside."""

    size_bytes: int
    sha256: str


class Whole(Artifact):
    """An artifact with the plan that made it."""

    plan: dict[str, Any]
    files: dict[str, File]


class Wanted(Body):
    """Which endpoint is to answer with the artifact. ``force`` overrules a missed bar, and is journaled."""

    endpoint: str = Field(min_length=1, max_length=40, description="letters, digits, '-' and '_'")
    force: bool = False


class Deployed(BaseModel):
    """What an endpoint answers with now."""

    endpoint: str
    export: str
    model: str


@routes.get("", response_model=Page[Artifact])
def artifacts(caller: MayRead, kind: Annotated[str, Query(max_length=40)] = "", limit: Limit = 20, after: After = "") -> dict[str, Any]:
    """A page of what was made, newest first."""
    return Records(caller.service).artifacts(kind, limit, after)


@routes.get("/{artifact}", response_model=Whole)
def artifact(artifact: Named, caller: MayRead) -> dict[str, Any]:
    """An artifact by id or name (then the newest), with its plan and its files."""
    return Records(caller.service).artifact(artifact)


@routes.get("/{artifact}/lineage", response_model=Page[Artifact])
def lineage(artifact: Named, caller: MayRead) -> dict[str, Any]:
    """The artifact, its parents, their parents ..."""
    return Records(caller.service).lineage(artifact)


@routes.post("/{artifact}/deploy", response_model=Deployed)
def deploy(artifact: Named, body: Wanted, caller: MayDeploy) -> dict[str, Any]:
    """Makes an endpoint answer with an export (or with the newest export of a model), if the gate passes."""
    info = Records(caller.service).deploy(artifact, body.endpoint, force=body.force)
    return {"endpoint": info.name, "export": info.export_id, "model": info.model_id}
