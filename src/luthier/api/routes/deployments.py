"""Deployments: which model answers under a name of its own. The resource manager's calls do the same in Azure's words."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field, StringConstraints

from luthier.api.access import MayDeploy, MayRead
from luthier.api.pages import After, Limit, Named, Page, by_name
from luthier.api.requests import Body
from luthier.api.routes import OWN

PREFIXES = OWN
routes = APIRouter(prefix="/deployments", tags=["deployments"])

State = Literal["accepted", "creating", "succeeded", "failed"]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=300)]


class Wanted(Body):
    """Which model is to answer. ``force`` overrules a missed bar of its gate, and is journaled."""

    model: ModelName
    force: bool = False


class New(Wanted):
    """A deployment to make."""

    name: str = Field(min_length=1, max_length=40, description="letters, digits, '-' and '_'")


class Deployment(BaseModel):
    """A deployment. ``export``: what answers now ("" while nothing does); ``error``: why it failed."""

    id: str
    object: Literal["deployment"]
    name: str
    model: str
    state: State
    error: dict[str, Any] | None
    export: str
    sku: dict[str, Any]
    properties: dict[str, Any]
    created_at: int


class Deleted(BaseModel):
    """A deployment that is gone."""

    id: str
    object: Literal["deployment"]
    deleted: bool


@routes.get("", response_model=Page[Deployment])
def deployments(caller: MayRead, limit: Limit = 20, after: After = "") -> dict[str, Any]:
    """A page of the deployments, by name."""
    return by_name("deployment", caller.service.deployments.list(), limit, after)


@routes.post("", response_model=Deployment, status_code=201, responses={202: {"model": Deployment}})
def create(body: New, caller: MayDeploy, response: Response) -> dict[str, Any]:
    """Deploys a model under a name; 202 while a worker still evaluates and exports it."""
    return _put(caller, body.name, body, response)


@routes.put("/{deployment}", response_model=Deployment, status_code=201, responses={202: {"model": Deployment}})
def put(deployment: Named, body: Wanted, caller: MayDeploy, response: Response) -> dict[str, Any]:
    """The same with the name in the address; a deployment that is there gets the other model."""
    return _put(caller, deployment, body, response)


def _put(caller: MayDeploy, name: str, body: Wanted, response: Response) -> dict[str, Any]:
    made = caller.service.deployments.put(name, body.model, force=body.force)
    if made["state"] in ("accepted", "creating"):
        response.status_code = 202
    return made


@routes.get("/{deployment}", response_model=Deployment)
def deployment(deployment: Named, caller: MayRead) -> dict[str, Any]:
    """One deployment."""
    return caller.service.deployments.get(deployment)


@routes.delete("/{deployment}", response_model=Deleted)
def delete(deployment: Named, caller: MayDeploy) -> dict[str, Any]:
    """Takes a deployment away; its model stays."""
    caller.service.deployments.delete(deployment)
    return {"id": deployment, "object": "deployment", "deleted": True}
