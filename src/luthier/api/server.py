"""Makes the server: routes, health, readiness, metrics, and the one shape of errors around them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from luthier.api import errors, predictions
from luthier.api.measures import Measures
from luthier.api.requests import Requests
from luthier.core.errors import LuthierError
from luthier.stages.serve.host import Deployments, Host
from luthier.stages.serve.recorder import Appends


class Served(Protocol):
    """What a server needs: ``app.service.Service`` has it, and so has anything with these two."""

    @property
    def endpoints(self) -> Deployments:
        """What is deployed."""

    @property
    def journal(self) -> Appends:
        """Where answers are kept."""


def create_app(service: Served, *, workers: int = 0, samples: Path | None = None, keep_text: bool = False) -> FastAPI:
    """The ASGI app. ``workers``: inferences at once (0: one a core); ``samples``: folder of the drift samples that watch reads;
    ``keep_text``: the journal keeps the texts too, personal data masked.

    The endpoints are opened when this is called, so a server that listens can answer.
    """
    host = Host(service.endpoints, service.journal, workers=workers, samples=samples, keep_text=keep_text)
    measures = Measures(host)
    # The interpreter hands its lock over every 5 ms by default: as long as a whole inference. Half a millisecond keeps workers fed.
    sys.setswitchinterval(0.0005)

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(host.close)

    # The documentation pages would load scripts from the network: the machine-readable description is enough.
    app = FastAPI(title="Luthier", version="1", docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json", lifespan=life)
    app.state.host = host
    app.add_middleware(Requests, measures=measures)
    app.include_router(predictions.router(host, measures))
    _add_errors(app)
    _add_health(app, host, measures)
    return app


def _add_errors(app: FastAPI) -> None:
    async def answer(_request: Request, error: Exception) -> Response:
        return errors.response(error)

    for kind in (LuthierError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer)


def _add_health(app: FastAPI, host: Host, measures: Measures) -> None:
    @app.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "alive"}

    @app.get("/readyz", tags=["health"])
    async def readyz() -> Response:
        """Something is deployed, and everything deployed is open."""
        body: dict[str, Any] = {"ready": host.ready, "endpoints": [one.info.name for one in host.all()], "problems": host.problems}
        return JSONResponse(body, 200 if host.ready else 503)

    @app.get("/metrics", tags=["health"])
    async def metrics() -> Response:
        """Prometheus figures."""
        return Response(measures.page(), media_type="text/plain; version=0.0.4; charset=utf-8")


def serve(service: Served, *, host: str = "127.0.0.1", port: int = 8000, **options: Any) -> None:
    """Serves until it is told to stop (SIGINT, SIGTERM), then answers what is queued; ``options`` are ``create_app``'s.

    One process: inference leaves the interpreter, so its workers use all cores, and they share the model, the queue and the figures.
    """
    import uvicorn

    uvicorn.run(create_app(service, **options), host=host, port=port, log_level="warning", access_log=False)
