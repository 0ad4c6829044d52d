"""One stage to run, as JSON, and the states it may go through (pure functions, no clock, no disk)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from luthier.core.plan import Plan, Stage
from luthier.core.types import content_id

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]

MOVES: dict[State, frozenset[State]] = {
    "queued": frozenset({"running", "cancelled"}),
    "running": frozenset({"succeeded", "failed", "cancelled", "queued"}),
    "succeeded": frozenset(),
    "failed": frozenset({"queued"}),
    "cancelled": frozenset({"queued"}),
}
"""Legal moves. ``running -> queued`` is a lease that ran out; ``failed -> queued`` is a person starting it again."""


def may_move(old: State, new: State) -> bool:
    """Whether a job in ``old`` may become ``new``."""
    return new in MOVES[old]


class Job(BaseModel):
    """Everything a stage process needs; the same JSON runs here, on Ray or at Azure ML.

    ``inputs`` maps a kind (``dataset``, ``model``, ``evaluation``, ``base``, ``current``, ``earlier``) to a folder. ``work`` may hold
    half-finished work of an earlier try; the stage leaves its result in ``work/out``, whole once ``work/done.json`` is there.
    """

    model_config = ConfigDict(extra="forbid")

    id: str
    run: str
    stage: Stage
    plan: Plan
    inputs: dict[str, str] = Field(default_factory=dict)
    parents: list[str] = Field(default_factory=list)
    work: str
    cache: str = ""
    card: str = Field(default="", description="the accelerator to use, as CUDA_VISIBLE_DEVICES names it; empty: any")

    @property
    def kind(self) -> str:
        """The kind of artifact that this stage makes."""
        return KINDS[self.stage]


KINDS: dict[Stage, str] = {"prepare": "dataset", "train": "model", "evaluate": "evaluation", "export": "export"}

_READS: dict[Stage, tuple[str, ...]] = {
    "prepare": ("model", "data", "prepare"),
    "train": ("model", "train"),
    "evaluate": ("model", "train", "evaluate"),
    "export": ("export",),
}
"""What each stage reads of the plan. ``prepare`` counts tokens as the base model does; ``export`` has its model as a parent."""

_READS_TEXTS: tuple[str, ...] = ("data", "prepare")
"""What ``train`` and ``evaluate`` read besides where a plan names unlabelled texts: these are read and masked like those of datasets."""


def job_key(stage: Stage, plan: Plan, parents: list[str], version: str) -> str:
    """16 hex digits that are equal exactly when the stage would do the same work: settings it reads, parents and code version."""
    dumped: dict[str, Any] = plan.model_dump(mode="json")
    texts = _READS_TEXTS if plan.train.unlabelled and stage in ("train", "evaluate") else ()
    parts = {part: dumped[part] for part in (*_READS[stage], *texts)}
    return content_id({"stage": stage, "task": plan.task, "parents": parents, "version": version} | parts)
