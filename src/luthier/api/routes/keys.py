"""The routes of API keys: made, listed, revoked and rotated by an admin key of their workspace."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from luthier.api.access import Caller, MayAdmin
from luthier.api.pages import After, Limit, Named, Page
from luthier.api.requests import Body
from luthier.api.routes import OWN
from luthier.app.keys import LONGEST_S, MOST, KeyInfo, Keys, Scope
from luthier.core.errors import UnknownName
from luthier.store.workspace import DEFAULT

PREFIXES = OWN
routes = APIRouter(prefix="/keys", tags=["keys"])


class Limited(Body):
    """How much a key may ask; 0: without limit, left out: as the server was started."""

    requests_per_minute: Annotated[int, Field(ge=0, le=MOST)] | None = None
    concurrent: Annotated[int, Field(ge=0, le=MOST)] | None = None


class NewKey(Body):
    """A key that is to be made. ``workspace``: another one than the caller's, which only an admin key of ``default`` may name."""

    name: Annotated[str, Field(max_length=200)] = ""
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=20)]
    expires_in_s: Annotated[int, Field(ge=0, le=LONGEST_S, description="0: never")] = 0
    limits: Limited = Limited()
    workspace: Annotated[str, Field(max_length=40)] = ""


class KeyObject(BaseModel):
    """A key without its secret. ``prefix`` is how it begins; times that never come are null."""

    id: str
    object: Literal["key"]
    workspace: str
    name: str
    prefix: str
    scopes: list[Scope]
    limits: dict[str, int]
    state: Literal["active", "revoked", "expired"]
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    revoked_at: int | None


class KeyWithSecret(KeyObject):
    """A key as it is shown once: ``key`` is what callers send."""

    key: str


def _keys(caller: Caller) -> Keys:
    return Keys(caller.service.workspace.engine())


def _shown(made: tuple[KeyInfo, str]) -> KeyWithSecret:
    return KeyWithSecret(**made[0].as_json(), key=made[1])


@routes.get("")
def keys(caller: MayAdmin, limit: Limit = 20, after: After = "", ended: bool = False) -> Page[KeyObject]:
    """The keys of the caller's workspace, newest first; with ``ended`` those too that were revoked or have expired."""
    found, more = _keys(caller).list(caller.workspace, limit=limit, after=after, ended=ended)
    data = [KeyObject(**key.as_json()) for key in found]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return Page(object="list", data=data, has_more=more, first_id=first, last_id=last)


@routes.post("", status_code=201)
def create(body: NewKey, caller: MayAdmin) -> KeyWithSecret:
    """Makes a key; ``key`` is shown now and never again."""
    workspace = body.workspace or caller.workspace
    if caller.workspace not in (workspace, DEFAULT):
        raise UnknownName(f"there is no workspace {workspace!r}", "leave it out: the key is of your own workspace")
    limits = body.limits.model_dump(exclude_none=True)
    return _shown(_keys(caller).create(workspace, body.name, body.scopes, expires_in_s=body.expires_in_s, limits=limits))


@routes.get("/{key}")
def key(key: Named, caller: MayAdmin) -> KeyObject:
    """One key."""
    return KeyObject(**_keys(caller).get(caller.workspace, key).as_json())


@routes.delete("/{key}")
def revoke(key: Named, caller: MayAdmin) -> KeyObject:
    """Makes a key invalid at once; it stays in the list of ended ones."""
    return KeyObject(**_keys(caller).revoke(caller.workspace, key).as_json())


@routes.post("/{key}/rotate")
def rotate(key: Named, caller: MayAdmin) -> KeyWithSecret:
    """Gives a key a new secret; the one before is invalid at once."""
    return _shown(_keys(caller).rotate(caller.workspace, key))
