"""Who calls, and what they may do: every route says which scope it needs, and gets a ``Caller``."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeAlias

import anyio
from fastapi import Depends, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from luthier.app.keys import SCOPES, KeyInfo, Keys, LookedUp, Scope
from luthier.app.limits import Limits
from luthier.core.errors import Forbidden, Unauthorized
from luthier.stages.serve.host import Host
from luthier.store.workspace import DEFAULT

if TYPE_CHECKING:
    from luthier.app.service import Service

OPEN = frozenset({"/healthz", "/readyz", "/openapi.json"})
"""The addresses that need no key."""


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


@dataclass
class Admission:
    """What is known of a request's caller, for what surrounds the route: ``api.requests`` sends the headers and calls ``leave`` at the end.

    ``workspace`` is empty until a valid key was shown; ``limited``: it was refused because the key had asked too often.
    """

    key: str = ""
    workspace: str = ""
    limited: bool = False
    needs: Needs | None = None
    caller: Caller | None = None
    headers: dict[str, str] = field(default_factory=dict)
    leave: Callable[[], None] = lambda: None


def admission(scope: MutableMapping[str, Any]) -> Admission:
    """The admission of a request, by its ASGI scope."""
    found: Admission = scope.setdefault("luthier.admission", Admission())
    return found


class Access(Protocol):
    """Decides who may do what."""

    guarded: bool
    """Whether a key is asked for."""

    async def admit(self, request: Request, needs: Needs) -> Caller:
        """The caller; raises ``Unauthorized``, ``Forbidden`` or ``RateLimited``."""


class Open:
    """Everybody may do everything in the workspace ``default``: a server that only this process (or a test) can reach."""

    guarded = False

    async def admit(self, request: Request, needs: Needs) -> Caller:
        """Always."""
        admission(request.scope).workspace = DEFAULT
        return Caller("", DEFAULT, frozenset(SCOPES), request)


class Guarded:
    """Every caller shows a key. It is looked up for each request, so that what is revoked is refused at once."""

    guarded = True

    def __init__(self, keys: Keys, limits: Limits | None = None, strangers: Strangers | None = None) -> None:
        self.keys = keys
        self.limits = limits or Limits()
        self.strangers = strangers or Strangers()

    async def admit(self, request: Request, needs: Needs) -> Caller:
        """The caller. A request that the key may not make counts against its limits too."""
        secret = presented(request)
        found = await run_in_threadpool(self._look_up, request, secret, needs)
        if found.key is None:
            request.app.state.measures.strangers.labels(found.reason).inc()
            await self.strangers.failed(request.client.host if request.client else "")
            raise _unauthorized(secret, found.reason)
        key, entry = found.key, admission(request.scope)
        entry.key, entry.workspace = key.id, key.workspace
        grant = self.limits.enter(key.id, key.limits)
        entry.headers, entry.leave = grant.headers, grant.leave
        if grant.refused is not None:
            entry.limited = True
            raise grant.refused
        if not needs.met_by(key.allowed, key.workspace):
            raise _forbidden(key, needs)
        return Caller(key.id, key.workspace, key.allowed, request)

    def _look_up(self, request: Request, secret: str, needs: Needs) -> LookedUp:
        """In a thread of its own, as it asks the database; so is what the first caller of a workspace has opened."""
        if not secret:
            return LookedUp(None, "missing")
        found = self.keys.look_up(secret)
        if found.key is not None:
            self.keys.used(found.key)
            if needs.met_by(found.key.allowed, found.key.workspace):
                request.app.state.tenants.host(found.key.workspace)
        return found


class Strangers:
    """Slows down who goes on guessing: after ``FREE`` failed log-ins of one address in a minute, each further one waits for its answer.

    Valid keys from the same address are answered as ever. At most ``WAITING`` answers wait: more would be a burden of its own.
    """

    FREE = 10
    LONGEST_S = 2.0
    WAITING = 100
    ADDRESSES = 10_000

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    ) -> None:  # fmt: skip
        self._clock, self._sleep = clock, sleep
        self._seen: dict[str, tuple[int, float]] = {}
        self._waiting = 0

    async def failed(self, address: str) -> None:
        """Counts a failed log-in, and waits."""
        now = self._clock()
        count, since = self._seen.get(address, (0, now))
        if now - since >= 60:
            count, since = 0, now
        if address not in self._seen and len(self._seen) >= self.ADDRESSES:
            self._seen = {one: seen for one, seen in self._seen.items() if now - seen[1] < 60}
            if len(self._seen) >= self.ADDRESSES:
                self._seen.clear()
        self._seen[address] = count + 1, since
        wait = min(0.1 * 2 ** min(count - self.FREE, 10), self.LONGEST_S) if count >= self.FREE else 0.0
        if wait and self._waiting < self.WAITING:
            self._waiting += 1
            try:
                await self._sleep(wait)
            finally:
                self._waiting -= 1


def presented(request: Request) -> str:
    """The key that a request shows: Azure's header first, else the bearer ("" for none). Older Azure clients send both."""
    own = request.headers.get("api-key", "").strip()
    kind, _, bearer = request.headers.get("authorization", "").strip().partition(" ")
    return own or (bearer.strip() if kind.lower() == "bearer" else "")


def _unauthorized(secret: str, reason: str) -> Unauthorized:
    hint = "send a key as Authorization: Bearer lt-... or api-key: lt-...; luthier keys create makes one"
    if reason == "missing":
        return Unauthorized("no API key was sent", hint)
    # A key of another service, sent here by mistake, is not repeated.
    shown = f"{secret[:7]}..." if secret.startswith("lt-") and secret.isascii() and len(secret) == 46 else "that was sent"
    said = {"revoked": "was revoked", "expired": "has expired"}.get(reason, "is not valid")
    return Unauthorized(f"the API key {shown} {said}", hint)


def _forbidden(key: KeyInfo, needs: Needs) -> Forbidden:
    wanted = " or ".join(needs.scopes)
    if needs.workspace and needs.workspace != key.workspace:
        hint = f"ask with a key of the workspace {needs.workspace} that has the scope {wanted}"
        return Forbidden(f"only a key of the workspace {needs.workspace} may do that; this one is of {key.workspace}", hint)
    has = ", ".join(key.scopes)
    return Forbidden(f"that needs the scope {wanted}; the key {key.prefix}... has {has}", f"luthier keys create --scope {needs.scopes[0]}")


class Needs:
    """A route's dependency: its caller must have one of the scopes (and the key be one of ``workspace``, where that is said)."""

    def __init__(self, *scopes: Scope, workspace: str = "") -> None:
        self.scopes = scopes
        self.workspace = workspace

    async def __call__(self, request: Request) -> Caller:
        """The caller."""
        entry = admission(request.scope)
        if entry.caller is None:
            access: Access = request.app.state.access
            entry.needs = self
            entry.caller = await access.admit(request, self)
        return entry.caller

    def met_by(self, allowed: Iterable[str], workspace: str) -> bool:
        """Whether what a key allows is enough."""
        return bool(set(self.scopes) & set(allowed)) and self.workspace in ("", workspace)

    @property
    def changes(self) -> bool:
        """Whether it guards changes: what may be asked or looked at is none."""
        return not set(self.scopes) & {"infer", "read"}


class Door(APIRoute):
    """A route that asks who calls before it reads anything of the body: what a stranger sends is neither kept nor judged."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, behind the question."""
        handle, needs = super().get_route_handler(), needs_of(self)

        async def handler(request: Request) -> Response:
            for one in needs:
                await one(request)
            return await handle(request)

        return handler


def needs_of(route: APIRoute) -> list[Needs]:
    """The rules that a route has."""
    found, waiting = [], list(route.dependant.dependencies)
    while waiting:
        one = waiting.pop()
        if isinstance(one.call, Needs):
            found.append(one.call)
        waiting += one.dependencies
    return found


def check_routes(app: FastAPI, also_open: Iterable[str] = ()) -> None:
    """Raises ``RuntimeError`` unless every route has exactly one rule, or is one of those that are open."""
    free = OPEN | set(also_open)
    for route in app.routes:
        path = getattr(route, "path", "")
        rules = needs_of(route) if isinstance(route, Door) else []
        if len(rules) != (0 if path in free else 1):
            name = f"{'/'.join(sorted(getattr(route, 'methods', None) or ()))} {path or route}"
            raise RuntimeError(f"{name} has {len(rules)} rules that say who may use it; write e.g. `caller: MayRead` (api/access.py)")


MayRead: TypeAlias = Annotated[Caller, Depends(Needs("read"))]
MayInfer: TypeAlias = Annotated[Caller, Depends(Needs("infer"))]
MayReadOrInfer: TypeAlias = Annotated[Caller, Depends(Needs("read", "infer"))]
MayTrain: TypeAlias = Annotated[Caller, Depends(Needs("train"))]
MayDeploy: TypeAlias = Annotated[Caller, Depends(Needs("deploy"))]
MayAdmin: TypeAlias = Annotated[Caller, Depends(Needs("admin"))]
MayOperate: TypeAlias = Annotated[Caller, Depends(Needs("admin", workspace=DEFAULT))]
"""What a route writes for its caller: ``async def files(caller: MayRead)``. ``MayOperate``: what concerns every workspace."""
