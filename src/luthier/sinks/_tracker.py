"""What trackers of experiments have in common: one tracked run for a Luthier run, filled from its events.

A run that begins with ``run.started`` is followed to its end; a stage that runs alone is a tracked run of its own.
"""

from __future__ import annotations

import difflib
import json
import math
import threading
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias
from urllib.parse import unquote

from luthier.core import events
from luthier.core.errors import InputError
from luthier.core.events import Event
from luthier.store import files

State: TypeAlias = Literal["succeeded", "failed", "stopped"]
PARTS: dict[str, tuple[str, ...]] = {
    "dataset": ("task", "model", "data", "prepare"),
    "model": ("train",),
    "evaluation": ("evaluate",),
    "export": ("export",),
}
"""Kind of artifact -> what its own plan says for certain: an artifact that is reused was made by another plan."""

_TRAINING = frozenset({"loss", "epoch", "learning_rate", "tokens_per_s", "mfu", "grad_norm"})


class Made(NamedTuple):
    """An artifact that the run made or found; ``manifest`` is what its ``manifest.json`` says."""

    id: str
    kind: str
    folder: Path
    manifest: dict[str, Any]


class Run(Protocol):
    """One run at a tracker."""

    def settings(self, values: dict[str, Any]) -> None:
        """The plan, by dotted path; called again with what was not known before."""

    def figures(self, values: dict[str, float], step: int, at: float) -> None:
        """Finite numbers by name (``train/loss``); ``at`` is seconds since 1970."""

    def facts(self, values: dict[str, str]) -> None:
        """Texts by name: ids of artifacts, what gates said."""

    def artifact(self, made: Made) -> None:
        """An artifact whose folder is there."""

    def end(self, state: State) -> None:
        """Nothing comes after this."""


class Tracker:
    """Turns events into calls of one ``Run`` at a time; ``start`` makes it from the run's name. ``take`` may be called by any thread."""

    def __init__(self, start: Callable[[str], Run]) -> None:
        self._start = start
        self._lock = threading.RLock()
        self._open: list[tuple[Run, list[State]]] = []
        self._whole = False
        self._planned = False
        self._step = 0
        # A run that nobody ended (an error between two stages) must not look alive for ever.
        weakref.finalize(self, _abandon, self._open)

    def take(self, event: Event) -> None:
        """Tells the tracker what it wants to know of an event."""
        handler = getattr(self, "_" + event.name.replace(".", "_"), None)
        if handler is not None:
            with self._lock:
                handler(event)

    # -- begin and end --------------------------------------------------------------------------------------------

    def _run(self, name: str = "") -> Run | None:
        """The run that is open; with a name, one is begun where there is none."""
        if not self._open and name:
            self._open.append((self._start(name), ["failed"]))
            self._whole = self._planned = False
            self._step = 0
        return self._open[0][0] if self._open else None

    def _close(self, state: State) -> None:
        while self._open:
            self._open.pop()[0].end(state)

    def _run_started(self, event: events.RunStarted) -> None:
        self._close("stopped")
        run = self._run(event.run)
        self._whole = True
        if run is not None and event.plan:
            self._planned = True
            run.settings(_settings(event.plan, [*dict.fromkeys(part for parts in PARTS.values() for part in parts), "deploy", "executor"]))

    def _run_finished(self, event: events.RunFinished) -> None:
        if run := self._run():
            run.figures({"run/seconds": event.seconds}, self._step, event.at)
        self._close("succeeded")

    def _job_moved(self, event: events.JobMoved) -> None:
        if event.new == "running":
            self._run(f"{event.stage}-{event.job}")
        elif event.new == "succeeded":
            if event.stage == "export" and self._open:
                self._open[0][1][:] = ["succeeded"]  # nothing that can fail the model comes after it
            if not self._whole:
                self._close("succeeded")
        elif event.new in ("failed", "queued", "cancelled"):
            if event.error and (run := self._run()):
                run.facts({f"luthier.error.{event.stage}": f"{event.error.get('code', 'error')}: {event.error.get('message', '')}"})
            self._close("failed" if event.new == "failed" else "stopped")

    def _tuning_moved(self, event: events.TuningMoved) -> None:
        ends: dict[str, State] = {"succeeded": "succeeded", "failed": "failed"}
        if event.new in (*ends, "cancelled", "paused", "queued"):
            self._close(ends.get(event.new, "stopped"))

    # -- what happens in between ----------------------------------------------------------------------------------

    def _stage_progressed(self, event: events.StageProgressed) -> None:
        if event.phase == "train" and event.figures:
            self._step = int(event.done)
            self._figures({f"train/{name}": value for name, value in event.figures.items()}, event.at)

    def _step_finished(self, event: events.StepFinished) -> None:
        self._step = event.step
        self._figures({_place(name): value for name, value in event.figures.items()} | {"train/epoch": event.epoch}, event.at)

    def _stage_finished(self, event: events.StageFinished) -> None:
        self._figures(dict(_numbers({"seconds": event.seconds, **event.summary}, event.stage)), event.at)

    def _figures(self, values: Mapping[str, float], at: float) -> None:
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        if finite and (run := self._run()):
            run.figures(finite, self._step, at)

    def _gate_decided(self, event: events.GateDecided) -> None:
        if run := self._run():
            said = "; ".join(["passed" if event.passed else "refused", *event.reasons])
            run.facts({f"luthier.gate.{event.gate.split(' ')[0]}": said})

    def _endpoint_deployed(self, event: events.EndpointDeployed) -> None:
        if run := self._run():
            run.facts({"luthier.endpoint": event.endpoint})

    def _job_reused(self, event: events.JobReused) -> None:
        alone = not self._open
        self._artifact(event.artifact, event.path, event.at)
        if alone:
            self._close("succeeded")

    def _artifact_written(self, event: events.ArtifactWritten) -> None:
        self._artifact(event.artifact, event.path, event.at)

    def _artifact(self, identity: str, path: str, at: float) -> None:
        run = self._run(identity)
        kind = identity.partition("-")[0]
        if run is None or kind not in PARTS:
            return
        run.facts({f"luthier.{kind}": identity})
        folder = Path(path)
        if not path or not folder.is_dir():
            return
        manifest = files.read_json(folder / "manifest.json") if (folder / "manifest.json").is_file() else {}
        if not self._planned:
            run.settings(_settings(manifest.get("plan", {}), PARTS[kind]))
        if kind == "evaluation":
            self._figures(scores(folder), at)
        run.artifact(Made(identity, kind, folder, manifest))


def scores(folder: Path) -> dict[str, float]:
    """``test/{score}`` of an evaluation's folder, with ``/low`` and ``/high`` where it has an interval."""
    path = folder / "evaluation.json"
    found = files.read_json(path).get("scores", {}) if path.is_file() else {}
    ends = {"value": "", "low": "/low", "high": "/high"}
    return {f"test/{name}{ends[end]}": float(row[end]) for name, row in found.items() for end in ends if row.get(end) is not None}


def _abandon(opened: list[tuple[Run, list[State]]]) -> None:
    while opened:
        run, state = opened.pop()
        run.end(state[0])


def _place(name: str) -> str:
    """Training figures stand under ``train/``; everything else of a step was measured on the validation rows."""
    for start in ("validation_", "valid_"):
        if name.startswith(start):
            return f"validation/{name.removeprefix(start)}"
    if name in _TRAINING or name.startswith("train_"):
        return f"train/{name.removeprefix('train_')}"
    return f"validation/{name}"


def _settings(plan: Mapping[str, Any], parts: Collection[str]) -> dict[str, Any]:
    """The named parts of a plan by dotted path; lists and what is deeper as JSON."""
    found: dict[str, Any] = {}
    for part in parts:
        value = plan.get(part)
        if isinstance(value, Mapping):
            found |= {f"{part}.{name}": _plain(one) for name, one in value.items()}
        elif value is not None:
            found[part] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict | tuple) else value


def _numbers(values: Mapping[str, Any], under: str) -> Iterator[tuple[str, float]]:
    """The numbers in a summary, by path; ``bool`` is no number."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{under}/{name}")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{under}/{name}", value


def options(sink: str, target: str, known: Collection[str]) -> tuple[str, dict[str, str]]:
    """``place;key=value;key=value`` as the place (may be missing) and the values; ``%3B`` in a value is a semicolon.

    Raises ``InputError`` for a key that the sink does not know, one that stands twice, and what is no text.
    """
    if not target.isprintable():
        raise InputError(f"{sink}: the target holds characters that cannot be shown", "write a folder or an address")
    place, found = "", dict[str, str]()
    for number, piece in enumerate(target.split(";")):
        key, sign, value = piece.partition("=")
        key = key.strip()
        if sign and key in known:
            if key in found:
                raise InputError(f"{sink}: {key} is given twice", f"write {key}=... once")
            found[key] = unquote(value.strip())
        elif number == 0 and not (sign and key.isidentifier()):
            place = piece.strip()
        elif piece.strip():
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}=?" if near else "known: " + ", ".join(f"{one}=" for one in sorted(known))
            raise InputError(f"{sink}: cannot read {piece.strip()!r} in its target", hint)
    return place, found
