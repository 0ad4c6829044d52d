"""Runs stages one after another: reuses what is done, takes leases, hands jobs to an executor, puts results into the store."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from luthier.app.leases import Leases
from luthier.catalog.places import PATTERNS
from luthier.core import registry
from luthier.core.errors import InputError, JobFailed, LuthierError, NotPossible, Stopped, from_json
from luthier.core.events import ArtifactWritten, Event, JobMoved, JobReused, StageFailed, StageFinished
from luthier.core.job import KINDS, Job, State, job_key
from luthier.core.plan import Plan, Stage
from luthier.core.ports import Emit, Handle
from luthier.core.types import Artifact
from luthier.store import contents, files
from luthier.store.workspace import Workspace

_WORKING_ROOMS = ("core", "store", "tasks", "methods", "metrics", "formats", "runtimes", "baselines", "networks", "catalog")

_BASE = (*PATTERNS, "network.json", "1_Pooling/config.json")
"""What a training reads of its base model: pages and pictures beside it, which one copy has and another has not, change nothing."""


@cache
def code_version(stage: Stage) -> str:
    """16 hex digits of the source that does a stage's work: changed code never reuses an old result."""
    root = Path(__file__).parent.parent
    folders = [root / room for room in _WORKING_ROOMS] + [root / "stages" / stage]
    if stage in ("evaluate", "export"):
        folders.append(root / "stages" / "train")
    if stage in ("train", "evaluate"):
        folders.append(root / "stages" / "prepare")  # unlabelled texts are read and masked by it
    digest = hashlib.blake2b(digest_size=8)
    for folder in folders:
        for path in [*sorted(folder.rglob("*.py")), root / "stages" / "inference.py"]:
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def fingerprints(names: Sequence[str]) -> list[str]:
    """What the input files are, by content for files, by size and time for big folders; raises ``InputError`` for a missing one."""
    found = []
    for name in names:
        path = Path(name)
        if name.startswith("made:"):
            found.append(name)
        elif path.is_file():
            found.append(files.sha256(path))
        elif path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file())
            found.append(_listing(inside))
        else:
            raise InputError(f"{name}: there is no such file or folder", "give a path, or made:support-messages for invented messages")
    return found


class Runner:
    """Does single stages of runs in a workspace."""

    def __init__(self, workspace: Workspace, leases: Leases, emit: Emit, card: str = "") -> None:
        self.workspace = workspace
        self.card = card
        self.leases = leases
        self.emit = emit
        self._stopping = threading.Event()
        self._handle: Handle | None = None

    def stop(self) -> None:
        """Ends the stage that runs now in good order (from another thread); ``stage`` raises ``Stopped``, also when called again."""
        self._stopping.set()
        handle = self._handle
        if handle is not None:
            handle.cancel()

    def stage(self, stage: Stage, plan: Plan, run: str, parents: dict[str, Artifact], others: dict[str, str] | None = None) -> Artifact:
        """The artifact of a stage, made now or found. ``others`` are further input folders (``base``, ``current``, ``earlier``)."""
        others = others or {}
        ids = [artifact.id for artifact in parents.values()]
        known = ids + [f"{kind}={self._content(kind, folder)}" for kind, folder in sorted(others.items())]
        if stage == "prepare":
            known += fingerprints([*plan.data.train, *plan.data.validation, *plan.data.test])
        elif stage in ("train", "evaluate") and plan.train.unlabelled:
            known += fingerprints(plan.train.unlabelled)
        if getattr(registry.get("executors", plan.executor), "pretends", False):
            known.append(f"executor={plan.executor}")  # what nobody really did is nobody's else
        key = job_key(stage, plan, known, code_version(stage))
        work = self.workspace.work / f"{stage}-{key}"
        with self.leases.held(key, run, stage) as token:
            found = self.workspace.artifacts.by_key(key)
            if found is None:
                job = Job(
                    id=key,
                    run=run,
                    stage=stage,
                    plan=plan,
                    work=str(work),
                    cache=str(self.workspace.cache),
                    card=self.card,
                    inputs=others | {kind: artifact.path for kind, artifact in parents.items()},
                    parents=ids,
                )
                found = self._do(job, token)
            else:
                self.workspace.artifacts.also_named(found.id, plan.name)
                self.leases.move(key, token, "running")
                self.leases.move(key, token, "succeeded", artifact=found.id)
                self.emit(JobReused(stage=stage, artifact=found.id, path=found.path))
            shutil.rmtree(work, ignore_errors=True)
        return found

    def _content(self, kind: str, folder: str) -> str:
        """What an input folder holds: the same on the machine that takes a stage over."""
        patterns = _BASE if kind == "base" else ("*",)
        return contents.of(Path(folder), patterns, self.workspace.root / "cache" / "contents")

    def _do(self, job: Job, token: str) -> Artifact:
        self._heed_stop(job.stage)
        self._move(job, token, "running")
        try:
            summary = self._execute(job)
        except (KeyboardInterrupt, Stopped):
            self._move(job, token, "queued")
            raise
        except Exception as error:
            known = error.as_json() if isinstance(error, LuthierError) else {"code": "error", "message": f"{type(error).__name__}: {error}"}
            with contextlib.suppress(LuthierError):  # where even this cannot be written, the lease runs out by itself
                self._move(job, token, "failed", error=known)
            raise
        artifact = self.workspace.artifacts.add(
            Path(job.work) / "out",
            KINDS[job.stage],
            parents=tuple(job.parents),
            name=job.plan.name,
            key=job.id,
            summary=summary,
            plan=job.plan.model_dump(mode="json"),
        )
        self.emit(ArtifactWritten(artifact=artifact.id, kind=artifact.kind, path=artifact.path))
        self._move(job, token, "succeeded", artifact=artifact.id)
        return artifact

    def _move(self, job: Job, token: str, new: State, **values: Any) -> None:
        old = self.leases.move(job.id, token, new, **values)
        self.emit(JobMoved(job=job.id, stage=job.stage, old=old, new=new, error=values.get("error", {})))

    def _execute(self, job: Job) -> dict[str, Any]:
        executor = registry.get("executors", job.plan.executor)
        refusal = executor.refuses(job)
        if refusal:
            raise NotPossible(f"executor {job.plan.executor!r} cannot do {job.stage}: {refusal}", "choose another executor")
        ended: list[Event] = []

        def take(event: Event) -> None:
            if isinstance(event, StageFinished | StageFailed):
                ended.append(event)
            self.emit(event)

        os.makedirs(job.work, exist_ok=True)
        handle = self._handle = executor.submit(job, take)
        if self._stopping.is_set():
            handle.cancel()
        try:
            handle.wait()
        except BaseException:
            handle.cancel()
            raise
        finally:
            self._handle = None
        if not any(isinstance(event, StageFinished) for event in ended):
            self._heed_stop(job.stage)
        return _outcome(job, ended)

    def _heed_stop(self, stage: str) -> None:
        if self._stopping.is_set():
            raise Stopped(f"{stage} was stopped", "start it again: it goes on where it was")


def _outcome(job: Job, ended: list[Event]) -> dict[str, Any]:
    last = ended[-1] if ended else None
    if isinstance(last, StageFinished):
        return last.summary
    if isinstance(last, StageFailed):
        raise from_json(last.error)
    raise JobFailed(f"{job.stage}: the executor reported no end")


def _listing(paths: Sequence[Path]) -> str:
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.blake2b(repr(stats).encode(), digest_size=8).hexdigest()


def run_id(plan: Plan) -> str:
    """``name-8hex``: the same plan is the same run, so that a killed one goes on."""
    dumped = plan.model_dump(mode="json", exclude={"origins", "notes", "estimates", "base"})
    return f"{plan.name}-{hashlib.blake2b(repr(sorted(dumped.items())).encode(), digest_size=4).hexdigest()}"
