"""The routes of workspaces: made and set by an admin key of the workspace ``default``."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from luthier.api.access import Caller, MayOperate
from luthier.api.pages import Named
from luthier.api.requests import Body
from luthier.api.routes import OWN
from luthier.app.workspaces import LARGEST, WorkspaceInfo, Workspaces

PREFIXES = OWN
routes = APIRouter(prefix="/workspaces", tags=["workspaces"])

Count = Annotated[int, Field(ge=0, le=LARGEST, strict=True, description="0: without limit")]
Switch = Annotated[bool, Field(strict=True)]


class Settings(BaseModel):
    """What a workspace may hold and do. ``jobs_queued`` counts every job that has not ended."""

    storage_bytes: int
    jobs_running: int
    jobs_queued: int
    mask_files: bool
    webhook_private: bool


class Wished(Body):
    """Settings that are to be; what is left out stays."""

    storage_bytes: Count | None = None
    jobs_running: Count | None = None
    jobs_queued: Count | None = None
    mask_files: Switch | None = None
    webhook_private: Switch | None = None


class NewWorkspace(Body):
    """A workspace that is to be made."""

    name: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9_-]{0,39}$")]
    settings: Wished = Wished()


class WorkspaceObject(BaseModel):
    """A workspace; its id is its name."""

    id: str
    object: Literal["workspace"]
    created_at: int
    settings: Settings

    @classmethod
    def of(cls, info: WorkspaceInfo) -> WorkspaceObject:
        """The object of a workspace."""
        return cls(**info.as_json())


class WorkspaceList(BaseModel):
    """Every workspace, on one page."""

    object: Literal["list"] = "list"
    data: list[WorkspaceObject]
    has_more: Literal[False] = False
    first_id: str | None
    last_id: str | None


def _workspaces(caller: Caller) -> Workspaces:
    return Workspaces(caller.service.workspace.engine())


@routes.get("")
def workspaces(caller: MayOperate) -> WorkspaceList:
    """Every workspace."""
    data = [WorkspaceObject.of(info) for info in _workspaces(caller).list()]
    return WorkspaceList(data=data, first_id=data[0].id, last_id=data[-1].id)


@routes.post("", status_code=201)
def create(body: NewWorkspace, caller: MayOperate) -> WorkspaceObject:
    """Makes a workspace. ``POST /api/v1/keys`` with ``workspace`` makes its first key."""
    return WorkspaceObject.of(_workspaces(caller).create(body.name, body.settings.model_dump(exclude_none=True)))


@routes.get("/{workspace}")
def workspace(workspace: Named, caller: MayOperate) -> WorkspaceObject:
    """One workspace."""
    return WorkspaceObject.of(_workspaces(caller).get(workspace))


@routes.patch("/{workspace}")
def change(workspace: Named, body: Wished, caller: MayOperate) -> WorkspaceObject:
    """Changes the settings that are given."""
    return WorkspaceObject.of(_workspaces(caller).set(workspace, body.model_dump(exclude_none=True)))
