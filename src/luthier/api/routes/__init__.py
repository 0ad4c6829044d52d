"""Every address: one file is one resource. A file's ``routes`` are served below each of its ``PREFIXES``; its presence registers it."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from luthier.api.access import Door
from luthier.api.described import FAILURES

OPENAI = ("/v1", "/openai/v1", "/openai")
"""Where OpenAI's clients ask, and Azure's: ``/openai/v1`` and, with ``?api-version=``, ``/openai``."""

OWN = ("/api/v1",)
"""Where everything lies that OpenAI has no word for."""


def include(app: FastAPI) -> None:
    """Adds the routes of every file in this folder."""
    app.router.routes += _every().routes


@cache
def _every() -> APIRouter:
    """All routes, made once a process: it takes seconds. Addresses that repeat another one's are left out of the description."""
    router = APIRouter(route_class=Door, generate_unique_id_function=operation)
    for info in sorted(pkgutil.iter_modules(__path__), key=lambda found: found.name):
        if info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{__name__}.{info.name}")
        for number, prefix in enumerate(module.PREFIXES):
            for route in module.routes.routes:
                _add(router, prefix, route, described=number == 0)
    return router


def operation(route: APIRoute) -> str:
    """An operation's id: its method and address, which no other has."""
    method = min(route.methods or {"get"}).lower()
    return f"{method}{route.path_format}".replace("/", "_").replace("{", "").replace("}", "")


def _add(router: APIRouter, prefix: str, route: APIRoute, *, described: bool) -> None:
    """The route below the prefix, as a route of its own: its whole address counts it in ``/metrics`` and names it in tests."""
    router.add_api_route(
        prefix + route.path,
        route.endpoint,
        methods=sorted(route.methods or {"GET"}),
        name=route.name,
        tags=list(route.tags),
        status_code=route.status_code,
        responses=FAILURES | route.responses,
        response_model=route.response_model,
        response_class=route.response_class,
        openapi_extra=route.openapi_extra,
        include_in_schema=described and route.include_in_schema,
    )
