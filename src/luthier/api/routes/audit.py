"""The route of the audit log: who changed what in the caller's workspace."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from luthier.api.access import MayAdmin
from luthier.api.pages import After, Limit, Page
from luthier.api.routes import OWN
from luthier.app.audit import Audit

PREFIXES = OWN
routes = APIRouter(prefix="/audit", tags=["audit"])


class EntryObject(BaseModel):
    """One change. ``key``: the id of the key that asked for it ("" on an open server); ``action``: method and address's pattern;
    ``path``: the address itself; ``status``: what was answered, 499 if nobody waited for the answer.
    """

    id: str
    object: Literal["audit.entry"]
    at: int
    key: str
    action: str
    path: str
    status: int
    request_id: str


@routes.get("")
def audit(caller: MayAdmin, limit: Limit = 20, after: After = "") -> Page[EntryObject]:
    """What was changed, newest first, also what was tried and forbidden."""
    found, more = Audit(caller.service.workspace.engine()).list(caller.workspace, limit=limit, after=after)
    data = [EntryObject(**one.as_json()) for one in found]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return Page(object="list", data=data, has_more=more, first_id=first, last_id=last)
