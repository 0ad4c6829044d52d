"""The routes of evaluations: what a model is worth, as figures and as a page to read."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from luthier.api.access import MayRead
from luthier.api.pages import After, Artifact, Limit, Named, Page
from luthier.api.routes import OWN
from luthier.app.records import Records
from luthier.stages import evaluate

PREFIXES = OWN
routes = APIRouter(prefix="/evaluations", tags=["evaluations"])


class Evaluation(Artifact):
    """An evaluation. ``figures``: everything in ``evaluation.json`` (scores with intervals, gate, comparison, calibration, mistakes)."""

    figures: dict[str, Any]


@routes.get("", response_model=Page[Artifact])
def evaluations(caller: MayRead, limit: Limit = 20, after: After = "") -> dict[str, Any]:
    """A page of the evaluations, newest first; their ``summary`` has the headline figures and the gate."""
    return Records(caller.service).artifacts("evaluation", limit, after)


@routes.get("/{evaluation}", response_model=Evaluation)
def evaluation(evaluation: Named, caller: MayRead) -> dict[str, Any]:
    """An evaluation by id or name (or the newest one of a model), with all its figures."""
    return Records(caller.service).evaluation(evaluation)


@routes.get("/{evaluation}/lineage", response_model=Page[Artifact])
def lineage(evaluation: Named, caller: MayRead) -> dict[str, Any]:
    """The evaluation, its model, its dataset."""
    return Records(caller.service).lineage(evaluation, "evaluation")


@routes.get("/{evaluation}/report", response_class=Response, responses={200: {"content": {"text/html": {}}}})
def report(evaluation: Named, caller: MayRead) -> HTMLResponse:
    """The report as a page that loads nothing and runs nothing but its own few lines that sort a table."""
    return HTMLResponse(Records(caller.service).report(evaluation), headers=_headers())


@cache
def _headers() -> dict[str, str]:
    """Only the script of our own template may run: one that got into a page with somebody's data is another one."""
    template = (Path(evaluate.__file__).parent / "report.html").read_text(encoding="utf-8")
    scripts = re.findall(r"<script>(.*?)</script>", template, re.DOTALL)
    allowed = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts)
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts"
    )
    return {"content-security-policy": policy, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
