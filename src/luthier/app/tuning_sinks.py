"""A job's integrations as sinks: where its events go besides the journal.

A caller names a sink, and a project or an experiment at it; places (folders, addresses) are those of the server's owner, by
``LUTHIER_SINKS``. A sink that writes a folder and has no place there writes into the job's own workspace.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from luthier.app.shown import Shown
from luthier.app.sinks import careful
from luthier.core import registry
from luthier.core.errors import InputError, SpecError
from luthier.core.events import CheckpointKept, CheckpointRefused, CheckpointWritten, Event, JobMoved, NoteSaid, RunStarted, StageFailed
from luthier.core.tuning import Integration
from luthier.sinks import wandb
from luthier.sinks._tracker import options

if TYPE_CHECKING:
    from luthier.app.service import Service

LOG = logging.getLogger("luthier.worker")
FOLDERS = {"jsonl": "jsonl/{job}.jsonl", "mlflow": "mlflow", "tensorboard": "tensorboard", "wandb": "wandb"}
"""Sink that writes a folder -> where that lies in the home of the workspace."""

NAMES = {"mlflow": "experiment", "wandb": "project"}
"""What a caller may choose at a sink."""

_KEYS: dict[str, Sequence[str]] = {"mlflow": ("experiment",), "wandb": wandb.KEYS, "tensorboard": ()}
_PATHS: dict[type[Event], tuple[str, ...]] = {
    RunStarted: ("plan",),
    JobMoved: ("error",),
    StageFailed: ("error",),
    NoteSaid: ("text", "data"),
    CheckpointWritten: ("path",),
    CheckpointKept: ("path",),
    CheckpointRefused: ("path", "reason"),
}
"""Where the server's folders may stand and nobody needs them. Where an artifact lies is said: trackers read it there."""

_UNFIT = re.compile(r"[^\w .-]+")


def places() -> dict[str, str]:
    """Sink -> target, as the server's owner says: ``LUTHIER_SINKS="mlflow=http://mlflow:5000;experiment=team;tensorboard=/srv/tb"``.

    A piece that begins with no sink's name belongs to the one before it. Raises ``InputError`` for what cannot be read.
    """
    found: dict[str, str] = {}
    known, last = registry.names("sinks"), ""
    for piece in os.environ.get("LUTHIER_SINKS", "").split(";"):
        name, sign, target = (part.strip() for part in piece.partition("="))
        if sign and name in known:
            if name in found:
                raise InputError(f"LUTHIER_SINKS: {name} stands twice", "give each sink one place")
            found[name], last = target, name
        elif piece.strip():
            if not last:
                raise InputError(f"LUTHIER_SINKS: there is no sink {name!r}", "write sink=place; known: " + ", ".join(known))
            found[last] = f"{found[last]};{piece.strip()}"
    for name, target in found.items():
        if name in _KEYS:
            options(f"LUTHIER_SINKS: {name}", target, _KEYS[name])
    return found


def check(integrations: Sequence[Integration]) -> None:
    """Refuses an integration that names no sink, or a place, before anything runs."""
    given = places() if integrations else {}
    for number, one in enumerate(integrations):
        path = f"integrations.{number}"
        if one.type == "wandb":
            if one.wandb is None:
                raise SpecError(f"{path}.wandb", "is missing", 'send {"type": "wandb", "wandb": {"project": "..."}}')
            continue
        name = one.sink or ""
        if name not in registry.names("sinks"):
            raise SpecError(f"{path}.sink", f"there is no sink {one.sink!r}", "known: " + ", ".join(registry.names("sinks")))
        if one.target:
            hint = "leave it out: the server's owner sets places (LUTHIER_SINKS); without one it is a folder of your workspace"
            raise SpecError(f"{path}.target", "a place on the server or behind it is not a caller's to name", hint)
        if name not in FOLDERS and name not in given:
            raise SpecError(f"{path}.sink", f"{name} has no place on this server", f"its owner can give it one: LUTHIER_SINKS={name}=...")
        for field in ("experiment", "project"):
            if getattr(one, field) is not None and NAMES.get(name) != field:
                raise SpecError(f"{path}.{field}", f"{name} has no {field}", "experiment is of mlflow, project of wandb")


def open_sinks(service: Service, integrations: list[dict[str, Any]], job: str) -> list[Callable[[Event], None]]:
    """A function for each integration; one that cannot be opened, or fails, is said in the job's events, and the job goes on."""
    found: list[Callable[[Event], None]] = []
    for one in integrations:
        name = _name(one)
        say = _teller(service, job, name)
        try:
            take = careful(name, target(one, job, service.workspace.name, service.workspace.home), partial(say, "does not work"))
        except Exception as error:  # noqa: BLE001 - whatever a sink raises, the job goes on without it
            say("is left out", getattr(error, "message", f"{type(error).__name__}: {error}"), getattr(error, "hint", ""))
        else:
            found.append(_without_paths(take, service))
    return found


def _name(one: Mapping[str, Any]) -> str:
    return "wandb" if one["type"] == "wandb" else str(one["sink"])


def target(one: Mapping[str, Any], job: str, workspace: str, home: Path) -> str:
    """What the sink is opened with: the owner's place, or the folder in the workspace, and the names that the caller chose.

    What the owner wrote holds; what a caller wrote stays a value: it cannot become ``mode=online`` or another folder.
    """
    name, said = _name(one), one["wandb"] if one["type"] == "wandb" else one
    given = places().get(name, "").replace("{workspace}", workspace).replace("{job}", job)
    folder = str(home / FOLDERS[name].replace("{job}", job)) if name in FOLDERS else ""
    if name == "wandb":
        return ";".join(part for part in (given, _wandb(given, said, job, folder)) if part)
    base = given or folder
    if name == "mlflow":
        place, fixed = options(name, given, _KEYS[name])
        base = given if place else ";".join(part for part in (folder, given) if part)
        if "experiment" not in fixed and said.get("experiment"):
            base = f"{base};experiment={quote(cleaned(said['experiment']), safe=' ')}"
    return base


def _wandb(given: str, said: Mapping[str, Any], job: str, folder: str) -> str:
    """The parts that the owner left open. Who sends to the network sends to the owner's account only."""
    place, fixed = options("wandb", given, wandb.KEYS)
    values: dict[str, str] = {"project": cleaned(said.get("project") or ""), "name": _plain(said.get("name") or "") or job}
    values |= {"entity": "" if fixed.get("mode") == "online" else _plain(said.get("entity") or "")}
    values |= {"folder": "" if place or "dir" in fixed else folder}
    values = {key: "" if key in fixed else value for key, value in values.items()}
    tags = () if "tags" in fixed else [tag for tag in map(_plain, said.get("tags") or ()) if tag]
    return wandb.target_of(tags=tags, **values)


def cleaned(text: str) -> str:
    """A name that is one name everywhere: letters, digits, ``_ . -`` and spaces inside, no dot at its ends (``..`` is a folder)."""
    return _UNFIT.sub("-", text)[:128].strip(" .-")


def _plain(text: str) -> str:
    """Without what cannot be shown."""
    return "".join(one for one in text if one.isprintable()).strip()


def _teller(service: Service, job: str, name: str) -> Callable[..., None]:
    """Says in the job's events what is wrong with a sink; of the owner's place the log alone says why: it may hold an address."""

    def say(what: str, why: str, hint: str = "") -> None:
        LOG.warning("job %s: the integration %s %s: %s", job, name, what, why)
        private = f"{name}=" in os.environ.get("LUTHIER_SINKS", "")
        told = "the worker's log says why" if private else Shown(service.workspace).text(why)
        service.fine_tuning.say(job, f"The integration {name} {what}: {told}", {"hint": hint} if hint and not private else {}, level="warn")

    return say


def _without_paths(take: Callable[[Event], None], service: Service) -> Callable[[Event], None]:
    """The sink, told events without the server's folders."""

    def told(event: Event) -> None:
        fields = _PATHS.get(type(event), ())
        if fields:
            shown = Shown(service.workspace, event.plan if isinstance(event, RunStarted) else None)
            event = event.model_copy(update={field: shown.value(getattr(event, field)) for field in fields})
        take(event)

    return told
