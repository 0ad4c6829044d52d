"""Who calls, and what they may do: every route says which scope it needs, and gets a ``Caller``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, TypeAlias

from fastapi import Depends, Request

from luthier.stages.serve.host import Host
from luthier.store.workspace import DEFAULT

if TYPE_CHECKING:
    from luthier.app.service import Service

Scope = Literal["admin", "train", "deploy", "infer", "read"]
SCOPES: tuple[Scope, ...] = ("admin", "train", "deploy", "infer", "read")


@dataclass(frozen=True)
class Caller:
    """Who calls: the key's id ("" where the server is open), the workspace it belongs to, what it may do."""

    key: str
    workspace: str
    scopes: frozenset[str]
    request: Request

    @property
    def service(self) -> Service:
        """The use cases of the caller's own workspace."""
        found: Service = self.request.app.state.tenants.service(self.workspace)
        return found

    @property
    def host(self) -> Host:
        """What answers in the caller's own workspace."""
        found: Host = self.request.app.state.tenants.host(self.workspace)
        return found


class Access(Protocol):
    """Decides who may do what."""

    async def admit(self, request: Request, scope: Scope) -> Caller:
        """The caller; raises ``Unauthorized``, ``Forbidden`` or ``RateLimited``."""


class Open:
    """Everybody may do everything in the workspace ``default``: a server that only this process (or a test) can reach."""

    async def admit(self, request: Request, scope: Scope) -> Caller:
        """Always."""
        return Caller("", DEFAULT, frozenset(SCOPES), request)


class Needs:
    """A route's dependency: the scope that its caller must have."""

    def __init__(self, scope: Scope) -> None:
        self.scope: Scope = scope

    async def __call__(self, request: Request) -> Caller:
        """The caller."""
        access: Access = request.app.state.access
        return await access.admit(request, self.scope)


MayRead: TypeAlias = Annotated[Caller, Depends(Needs("read"))]
MayInfer: TypeAlias = Annotated[Caller, Depends(Needs("infer"))]
MayTrain: TypeAlias = Annotated[Caller, Depends(Needs("train"))]
MayDeploy: TypeAlias = Annotated[Caller, Depends(Needs("deploy"))]
MayAdmin: TypeAlias = Annotated[Caller, Depends(Needs("admin"))]
"""What a route writes for its caller: ``async def files(caller: MayRead)``."""
