"""Rollouts: the versions of an endpoint, who of them gets how much of the traffic, and how a new one takes its place in steps."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from luthier.api.access import MayDeploy, MayRead
from luthier.api.pages import After, Limit, Named, Page, by_name
from luthier.api.requests import Body
from luthier.api.routes import OWN
from luthier.core.plan import RolloutPlan

PREFIXES = OWN
routes = APIRouter(prefix="/rollouts", tags=["rollouts"])

Share = Annotated[int, Field(ge=0, le=100, strict=True)]


class Start(Body, RolloutPlan):
    """A new version for an endpoint: a canary with ``canary``, else open beside the present one, without traffic."""

    endpoint: str = Field(min_length=1, max_length=40)
    model: str = Field(min_length=1, max_length=300, description="an export, a model with one, or a tuned model that was exported")
    force: bool = Field(default=False, description="overrules a missed bar of the gate, and is journaled")


class Traffic(Body):
    """Percents by version; they sum to 100. What is left out gets none."""

    traffic: dict[Annotated[str, Field(max_length=10)], Share] = Field(max_length=100)


class Version(BaseModel):
    """A version of an endpoint. ``replaces``: the version before it, to which ``back`` leads."""

    name: str
    state: Literal["open", "retired"]
    traffic: int
    mirror: int
    replaces: str
    task: str
    export: str
    evaluation: str
    model: str
    created_at: int


class Rollout(BaseModel):
    """A canary: its shares in ``steps``, the present ``step`` (from 0), and what the last look found in ``decision``."""

    id: str
    state: Literal["running", "promoted", "rolled_back", "aborted"]
    candidate: str
    against: str
    steps: list[int]
    step: int
    share: int
    step_at: int
    plan: dict[str, Any]
    decision: dict[str, Any]
    created_at: int
    finished_at: int | None


class EndpointRollout(BaseModel):
    """An endpoint's versions, its traffic table, and its newest rollout."""

    id: str
    object: Literal["endpoint.rollout"]
    endpoint: str
    traffic: dict[str, int]
    versions: list[Version]
    rollout: Rollout | None


@routes.get("", response_model=Page[EndpointRollout])
def rollouts(caller: MayRead, limit: Limit = 20, after: After = "") -> dict[str, Any]:
    """A page of the endpoints, by name, with their versions and newest rollouts."""
    return by_name("endpoint", caller.service.rollouts.list(), limit, after)


@routes.post("", response_model=EndpointRollout, status_code=201)
def start(body: Start, caller: MayDeploy) -> dict[str, Any]:
    """Begins a rollout, if the model passes the gate; 409 while another one of the endpoint runs."""
    found = caller.service.rollouts
    return found.start(found.export_of(body.model), body.endpoint, body, force=body.force)


@routes.get("/{endpoint}", response_model=EndpointRollout)
def rollout(endpoint: Named, caller: MayRead) -> dict[str, Any]:
    """One endpoint."""
    return caller.service.rollouts.get(endpoint)


@routes.post("/{endpoint}/promote", response_model=EndpointRollout)
def promote(endpoint: Named, caller: MayDeploy) -> dict[str, Any]:
    """Gives the candidate all traffic now."""
    return caller.service.rollouts.promote(endpoint)


@routes.post("/{endpoint}/abort", response_model=EndpointRollout)
def abort(endpoint: Named, caller: MayDeploy) -> dict[str, Any]:
    """Gives all traffic back to the version that the candidate was to replace."""
    return caller.service.rollouts.abort(endpoint)


@routes.post("/{endpoint}/back", response_model=EndpointRollout)
def back(endpoint: Named, caller: MayDeploy) -> dict[str, Any]:
    """Makes the endpoint answer with the version before the present one."""
    return caller.service.rollouts.back(endpoint)


@routes.put("/{endpoint}/traffic", response_model=EndpointRollout)
def traffic(endpoint: Named, body: Traffic, caller: MayDeploy) -> dict[str, Any]:
    """Shares the traffic among open versions by hand."""
    return caller.service.rollouts.traffic(endpoint, body.traffic)


@routes.delete("/{endpoint}/versions/{version}", response_model=EndpointRollout)
def remove(endpoint: Named, version: Named, caller: MayDeploy) -> dict[str, Any]:
    """Closes a version and forgets it; 409 while it holds traffic."""
    return caller.service.rollouts.remove(endpoint, version)
