"""Every event that the journal can hold, one small class each; names are ``noun.verb`` in the past."""

from __future__ import annotations

import time
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field


class Event(BaseModel):
    """Something that happened. ``at`` is seconds since 1970."""

    model_config = ConfigDict(extra="forbid")
    name: ClassVar[str] = "event.happened"
    at: float = Field(default_factory=time.time)

    def as_json(self) -> dict[str, Any]:
        """``{"event": name, ...fields}``: the line that a stage process prints."""
        return {"event": self.name, **self.model_dump(mode="json")}


class RunStarted(Event):
    """A run begins or goes on; ``resumed`` says which."""

    name = "run.started"
    run: str
    resumed: bool = False
    plan: dict[str, Any] = Field(default_factory=dict)


class RunFinished(Event):
    """A run ended well."""

    name = "run.finished"
    run: str
    seconds: float


class JobMoved(Event):
    """A job changed its state."""

    name = "job.moved"
    job: str
    stage: str
    old: str
    new: str
    error: dict[str, Any] = Field(default_factory=dict)


class JobReused(Event):
    """A stage was not run again: an artifact of exactly this work exists."""

    name = "job.reused"
    stage: str
    artifact: str
    path: str = ""


class StageProgressed(Event):
    """``done`` of ``total`` ``unit``s of the named ``phase`` are finished; ``left_s`` is the time left, when known."""

    name = "stage.progressed"
    stage: str
    phase: str
    done: float
    total: float
    unit: str = ""
    left_s: float | None = None
    figures: dict[str, float] = Field(default_factory=dict)


class StepFinished(Event):
    """A training step or validation: ``figures`` holds loss, tokens_per_s, mfu, metrics ... ``higher_is_better``: of the metric."""

    name = "step.finished"
    step: int
    epoch: float
    figures: dict[str, float]
    higher_is_better: bool = True


class NoteSaid(Event):
    """A sentence for the reader: a choice, a warning, a finding."""

    name = "note.said"
    level: Literal["info", "warning", "error"] = "info"
    text: str
    data: dict[str, Any] = Field(default_factory=dict)


class CheckpointWritten(Event):
    """A whole checkpoint is on the disk."""

    name = "checkpoint.written"
    step: int
    path: str
    seconds: float


class CheckpointKept(Event):
    """A model as it was at a step is whole in the folder ``path``; ``figures`` are those of the validation at that step."""

    name = "checkpoint.kept"
    step: int
    path: str
    figures: dict[str, float] = Field(default_factory=dict)


class CheckpointRefused(Event):
    """A checkpoint is damaged and was passed over; the one before it is used."""

    name = "checkpoint.refused"
    path: str
    reason: str


class PredictionMade(Event):
    """The wall time and memory that a stage expects."""

    name = "prediction.made"
    stage: str
    wall_s: float
    memory_bytes: float


class StageFinished(Event):
    """A stage ended well; ``summary`` is what the person wants to see of it (short figures, files)."""

    name = "stage.finished"
    stage: str
    seconds: float
    summary: dict[str, Any] = Field(default_factory=dict)


class StageFailed(Event):
    """A stage ended with an error, in the one JSON shape of every error."""

    name = "stage.failed"
    stage: str
    error: dict[str, Any]


class ArtifactWritten(Event):
    """A new artifact is in the store."""

    name = "artifact.written"
    artifact: str
    kind: str
    path: str


class GateDecided(Event):
    """A gate was asked: may this be deployed? ``reasons`` name each bar with its figure."""

    name = "gate.decided"
    gate: str
    passed: bool
    reasons: list[str] = Field(default_factory=list)


class EndpointDeployed(Event):
    """An endpoint answers with another export from now on."""

    name = "endpoint.deployed"
    endpoint: str
    export: str
    model: str
    forced: bool = False


class EndpointRemoved(Event):
    """An endpoint answers no more."""

    name = "endpoint.removed"
    endpoint: str


class TrafficMoved(Event):
    """An endpoint's traffic is shared otherwise from now on; percents by version. ``by``: deploy, rollout or person."""

    name = "traffic.moved"
    endpoint: str
    traffic: dict[str, int]
    mirror: dict[str, int] = Field(default_factory=dict)
    by: str = "person"


class VersionRemoved(Event):
    """A version of an endpoint is open no more, and cannot be rolled back to."""

    name = "version.removed"
    endpoint: str
    version: str
    export: str


class RolloutMoved(Event):
    """A rollout began (``old`` is empty), took a step or ended. ``findings``: what each rule found, with its numbers."""

    name = "rollout.moved"
    endpoint: str
    rollout: str
    candidate: str
    against: str
    old: str
    new: str
    share: int
    reason: str = ""
    findings: list[dict[str, Any]] = Field(default_factory=list)


class PredictionMirrored(Event):
    """A version answered a copy of a request; nobody got this answer. ``same``: whether it is the one that was given."""

    name = "prediction.mirrored"
    endpoint: str
    id: str
    version: str
    against: str
    same: bool
    confidence: float = 0.0
    latency_ms: float = 0.0
    code: str = ""


class PredictionAnswered(Event):
    """An endpoint answered one example (the request journal). The text itself is kept only masked, and only if the workspace says so."""

    name = "prediction.answered"
    endpoint: str
    id: str
    export: str
    output: Any
    confidence: float
    abstained: bool = False
    out_of_scope: float = 0.0
    tokens: int = 0
    latency_ms: float = 0.0
    batch: int = 1
    written_tokens: int = 0
    first_token_ms: float = 0.0
    text: str = ""
    version: str = ""


class PredictionFailed(Event):
    """An endpoint could not answer."""

    name = "prediction.failed"
    endpoint: str
    code: str
    message: str
    version: str = ""


class FeedbackGiven(Event):
    """A person judged an answer: thumbs (``up`` or ``down``), and the right output if they gave it."""

    name = "feedback.given"
    endpoint: str
    id: str
    thumbs: Literal["up", "down", ""] = ""
    right: Any = None
    comment: str = ""


class TuningSaid(Event):
    """What a fine-tuning job tells its owner. ``type``: a ``message``, or ``metrics`` with figures in ``data``."""

    name = "tuning.said"
    job: str
    level: Literal["info", "warn", "error"] = "info"
    type: Literal["message", "metrics"] = "message"
    message: str
    data: dict[str, Any] = Field(default_factory=dict)


class TuningMoved(Event):
    """A fine-tuning job changed its state."""

    name = "tuning.moved"
    job: str
    old: str
    new: str


class DriftMeasured(Event):
    """A window of the journal was compared with the profile of prepare."""

    name = "drift.measured"
    endpoint: str
    window: int
    figures: dict[str, float]
    alarms: list[str] = Field(default_factory=list)


def _all(cls: type[Event]) -> dict[str, type[Event]]:
    found = {sub.name: sub for sub in cls.__subclasses__()}
    for sub in cls.__subclasses__():
        found |= _all(sub)
    return found


EVENTS: dict[str, type[Event]] = _all(Event)


def read_event(data: dict[str, Any]) -> Event:
    """The event that ``as_json`` wrote; raises ``KeyError`` for a name this version does not know."""
    fields = dict(data)
    return EVENTS[fields.pop("event")](**fields)
