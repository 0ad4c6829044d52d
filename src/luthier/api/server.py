"""Makes the server: routes, health, readiness, metrics, and the one shape of errors around them."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from luthier.api import errors, routes
from luthier.api.access import Access, Door, Needs, Open, check_routes
from luthier.api.health import Health, Readiness
from luthier.api.measures import Measures
from luthier.api.requests import Requests
from luthier.api.tenants import Served, Tenants
from luthier.app.audit import Audit
from luthier.app.batches import Batches
from luthier.core.errors import LuthierError
from luthier.store.workspace import DEFAULT

GRACE_S = 20
"""How long requests that are being answered may still take when the server is told to stop."""


def create_app(
    service: Served,
    *,
    access: Access | None = None,
    workers: int = 0,
    samples: Path | None = None,
    keep_text: bool = False,
    open_metrics: bool = False,
) -> FastAPI:
    """The ASGI app. ``access``: who may do what (none: everybody everything, for a process of one's own); ``workers``: inferences at once
    (0: one a core); ``samples``: folder of the drift samples that watch reads; ``keep_text``: the journal keeps the texts too, personal
    data masked; ``open_metrics``: ``/metrics`` needs no key.

    The endpoints of the workspace ``default`` are opened when this is called, so a server that listens can answer.
    """
    tenants = Tenants(service, workers=workers, samples=samples, keep_text=keep_text)
    measures = Measures(tenants)
    tenants.host()
    # The interpreter hands its lock over every 5 ms by default: as long as a whole inference. Half a millisecond keeps workers fed.
    sys.setswitchinterval(0.0005)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        async with _batches(app, service):
            yield
        await run_in_threadpool(tenants.close)

    # The documentation pages would load scripts from the network: the machine-readable description is enough.
    app = FastAPI(
        title="Luthier",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        lifespan=life,
        generate_unique_id_function=routes.operation,
    )
    app.state.tenants, app.state.measures, app.state.access = tenants, measures, access or Open()
    app.router.route_class = Door
    app.add_middleware(Requests, measures=measures, audit=_audit(service))
    routes.include(app)
    _add_errors(app)
    _add_health(app, tenants, measures, open_metrics=open_metrics)
    check_routes(app, {"/metrics"} if open_metrics else ())
    return app


@asynccontextmanager
async def _batches(app: FastAPI, service: Served) -> AsyncIterator[None]:
    """Works batches off as long as the block runs; what only serves endpoints has none."""
    workspace = getattr(service, "workspace", None)
    if workspace is None:
        yield
        return
    from luthier.api.batching import Batching

    working = asyncio.create_task(Batching(app, Batches(workspace.engine())).run())
    try:
        yield
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


def _audit(service: Served) -> Audit | None:
    """The audit log of the service's database; what only serves endpoints has none."""
    workspace = getattr(service, "workspace", None)
    return Audit(workspace.engine()) if workspace is not None else None


def _add_errors(app: FastAPI) -> None:
    async def answer(_request: Request, error: Exception) -> Response:
        return errors.response(error)

    for kind in (LuthierError, RequestValidationError, HTTPException, *errors.UNSTORABLE, *errors.AWAY):
        app.add_exception_handler(kind, answer)


def _add_health(app: FastAPI, tenants: Tenants, measures: Measures, *, open_metrics: bool) -> None:
    @app.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "alive"}

    health = Health(tenants, app.state.access)
    unready: dict[int | str, dict[str, Any]] = {503: {"model": Readiness, "description": "not now: `checks` say why"}}

    @app.get("/readyz", tags=["health"], response_model=Readiness, responses=unready)
    async def readyz(request: Request) -> Response:
        """The server can do its work: the database answers, the disk has room, what is deployed is open."""
        said = await health.readiness(request)
        return JSONResponse(said, 200 if said["ready"] else 503)

    rule = [] if open_metrics else [Depends(Needs("read", workspace=DEFAULT))]
    shown: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}}}

    # Figures are of all workspaces together: they are for who runs the server.
    @app.get("/metrics", tags=["health"], response_class=Response, responses=shown, dependencies=rule)
    async def metrics() -> Response:
        """Prometheus figures."""
        return Response(measures.page(), media_type="text/plain; version=0.0.4; charset=utf-8")


def serve(
    service: Served, *, host: str = "127.0.0.1", port: int = 8000, worker: AbstractContextManager[Any] | None = None, **options: Any
) -> None:
    """Serves until it is told to stop (SIGINT, SIGTERM), then answers what is queued and ends ``worker``, what runs the jobs beside it;
    ``options`` are ``create_app``'s.

    One process: inference leaves the interpreter, so its workers use all cores, and they share the model, the queue and the figures.
    """
    import uvicorn

    # uvicorn raises the signal once more when it has ended; by default that would end the process before its worker.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with worker or nullcontext():
        app = create_app(service, **options)
        uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE_S)
