"""The route of monitors: what an endpoint did in its last minutes, as ``luthier watch --json`` says it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from luthier.api.access import MayRead
from luthier.api.pages import Named
from luthier.api.routes import OWN
from luthier.app.shown import Shown

PREFIXES = OWN
routes = APIRouter(prefix="/monitors", tags=["monitors"])

LONGEST_S = 7 * 86_400.0
"""The window is read whole from the journal."""


class Drift(BaseModel):
    """Whether the answers differ from the evaluation's: each test's statistic and p-value, and the tests that raise an alarm."""

    rows: int
    alpha: float
    figures: dict[str, float | None]
    alarms: list[str]
    note: str


class Monitor(BaseModel):
    """One window of one endpoint; shares are 0 to 1, a figure that is not known is null."""

    endpoint: str
    start: float
    end: float
    answers: int
    per_s: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    errors: dict[str, int]
    error_share: float
    labels: dict[str, float]
    reference_labels: dict[str, float]
    confidence: float | None
    reference_confidence: float | None
    abstained: float
    out_of_scope: float | None
    tokens: float | None
    thumbs: dict[str, int]
    judged: int
    live_accuracy: float | None
    exports: list[str]
    mirrored: dict[str, dict[str, float]]
    drift: Drift


@routes.get("/{endpoint}", response_model=Monitor)
def monitor(
    endpoint: Named,
    caller: MayRead,
    window_s: Annotated[float, Query(ge=1, le=LONGEST_S, allow_inf_nan=False, description="seconds of the journal to look at")] = 300.0,
) -> dict[str, Any]:
    """Rates, latency, label mix, confidence, judgements and drift of the last ``window_s`` seconds."""
    service = caller.service
    found: dict[str, Any] = Shown(service.workspace).value(service.watch(endpoint, window_s).as_json())
    return found
