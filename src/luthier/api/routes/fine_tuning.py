"""Fine-tuning jobs, as OpenAI's and Azure's clients ask for them."""

from __future__ import annotations

from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Body, Header, Query, Request
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from luthier.api.access import Caller, MayRead, MayTrain
from luthier.api.routes import OPENAI
from luthier.app.stopping import Wish
from luthier.core.errors import InputError
from luthier.core.tuning import TuningRequest

PREFIXES = OPENAI
routes = APIRouter(prefix="/fine_tuning/jobs", tags=["fine-tuning"])

Limit = Annotated[int, Query(ge=1, le=1000)]
After = Annotated[str, Query(max_length=100)]


class _Object(BaseModel):
    """An answer: more fields than these may come."""

    model_config = ConfigDict(extra="allow")


class JobError(_Object):
    """Why a job failed."""

    code: str
    message: str
    param: str | None


class Job(_Object):
    """A fine-tuning job."""

    object: str
    id: str
    created_at: int
    model: str
    status: str
    fine_tuned_model: str | None
    finished_at: int | None
    estimated_finish: int | None
    organization_id: str
    result_files: list[str]
    training_file: str
    validation_file: str | None
    trained_tokens: int | None
    hyperparameters: dict[str, Any]
    method: dict[str, Any]
    seed: int
    error: JobError | None
    integrations: list[dict[str, Any]]
    metadata: dict[str, str]


class Event(_Object):
    """Something that a job said."""

    object: str
    id: str
    created_at: int
    level: str
    message: str
    type: str
    data: dict[str, Any]


class Checkpoint(_Object):
    """A model of the way."""

    object: str
    id: str
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: dict[str, float]


class _List(_Object):
    object: str
    has_more: bool
    first_id: str | None
    last_id: str | None


class Jobs(_List):
    """Jobs, newest first."""

    data: list[Job]


class Events(_List):
    """Events, newest first."""

    data: list[Event]


class Checkpoints(_List):
    """Checkpoints, newest first."""

    data: list[Checkpoint]


@routes.post("", response_model=Job)
def create(
    caller: MayTrain,
    request: Annotated[TuningRequest, Body()],
    x_stainless_retry_count: Annotated[str, Header(max_length=10)] = "0",
    idempotency_key: Annotated[str, Header(max_length=200)] = "",
) -> dict[str, Any]:
    """Creates a job. The file decides the task (docs/fine-tuning.md); what cannot work is refused now, in a sentence."""
    body = request.model_dump(mode="json", exclude_unset=True)
    again, admin = x_stainless_retry_count not in ("", "0"), "admin" in caller.scopes
    return caller.service.fine_tuning.create(body, repeated=again, idempotency=idempotency_key, admin=admin)


@routes.get("", response_model=Jobs)
def jobs(caller: MayRead, request: Request, limit: Limit = 20, after: After = "") -> dict[str, Any]:
    """Jobs newest first; ``metadata[key]=value`` filters, ``metadata=null`` lists those without metadata."""
    given = {key[9:-1]: value for key, value in request.query_params.items() if key.startswith("metadata[") and key.endswith("]")}
    if any("\0" in text for pair in given.items() for text in pair):
        raise InputError("metadata: holds a character that no text has (NUL)", "leave it out")
    return caller.service.fine_tuning.list(limit, after, given, without=request.query_params.get("metadata") == "null")


@routes.get("/{job}", response_model=Job)
def job(job: str, caller: MayRead) -> dict[str, Any]:
    """One job."""
    return caller.service.fine_tuning.get(job)


@routes.post("/{job}/cancel", response_model=Job)
async def cancel(job: str, caller: MayTrain) -> dict[str, Any]:
    """Ends a job within a step; what it reached stays as a checkpoint."""
    return await _stopped(job, caller, "cancel")


@routes.post("/{job}/pause", response_model=Job)
async def pause(job: str, caller: MayTrain) -> dict[str, Any]:
    """Halts a job within a step."""
    return await _stopped(job, caller, "pause")


async def _stopped(job: str, caller: Caller, wish: Wish) -> dict[str, Any]:
    """Waits for the worker without a thread: hundreds may cancel at once."""
    tuning = await run_in_threadpool(lambda: caller.service.fine_tuning)
    stop = tuning.stop(job, wish)
    for rest in stop.waits():
        if await run_in_threadpool(stop.step):
            break
        await anyio.sleep(rest)
    return await run_in_threadpool(tuning.get, job)


@routes.post("/{job}/resume", response_model=Job)
def resume(job: str, caller: MayTrain) -> dict[str, Any]:
    """Lets a paused job go on where it was."""
    return caller.service.fine_tuning.resume(job)


@routes.delete("/{job}", status_code=204, response_class=Response)
def delete(job: str, caller: MayTrain) -> Response:
    """Takes a finished job out of the lists (Azure's call); its model stays."""
    caller.service.fine_tuning.delete(job)
    return Response(status_code=204)


@routes.get("/{job}/events", response_model=Events)
@routes.post("/{job}/events", response_model=Events, include_in_schema=False)
def events(job: str, caller: MayRead, limit: Limit = 20, after: After = "") -> dict[str, Any]:
    """What the job said, newest first. Azure's documents ask by POST: that is taken too."""
    return caller.service.fine_tuning.events(job, limit, after)


@routes.get("/{job}/checkpoints", response_model=Checkpoints)
@routes.post("/{job}/checkpoints", response_model=Checkpoints, include_in_schema=False)
def checkpoints(job: str, caller: MayRead, limit: Limit = 10, after: After = "") -> dict[str, Any]:
    """The job's checkpoints, newest first."""
    return caller.service.fine_tuning.checkpoints(job, limit, after)
