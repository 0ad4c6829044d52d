"""Runs and figures for Weights & Biases: a folder on this machine that ``wandb sync`` sends when a person says so.

Target: ``project=...;name=...;entity=...;tags=a,b;dir=...;mode=offline``, or just a folder. Every part may be left out. Only
``mode=online`` lets anything leave this machine; ``WANDB_MODE`` does not.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import netrc
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from luthier.core.errors import InputError, MissingExtra
from luthier.core.events import Event
from luthier.sinks._careful import Careful
from luthier.sinks._tracker import Made, State, Tracker, options
from luthier.store.workspace import Workspace

KEYS = ("project", "name", "entity", "tags", "dir", "mode")
MODES = ("offline", "online")
_SILENT = {
    "console": "off",
    "silent": True,
    "disable_git": True,
    "disable_code": True,
    "save_code": False,
    "x_save_requirements": False,
    "x_disable_stats": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
}
"""Figures only: no source, no output of the terminal, nothing about the machine."""


def target_of(*, project: str, name: str = "", entity: str = "", tags: Sequence[str] = (), folder: str = "") -> str:
    """The target for the values of a job's ``integrations``: whatever stands in them stays one value."""
    values = {"project": project, "name": name, "entity": entity, "dir": folder}
    parts = [f"{key}={_quoted(value)}" for key, value in values.items() if value]
    return ";".join([*parts, *([f"tags={','.join(map(_quoted, tags))}"] if tags else [])])


def _quoted(text: str) -> str:
    """Also the comma, which parts tags: twice, because the target is unquoted before its tags are parted."""
    return quote(text.replace("%", "%25").replace(",", "%2C"), safe=" /:@,").strip()


class _Run:
    """One run of the wandb library. A run that goes on is a second folder of the same group; online it is the same run."""

    def __init__(self, found: Mapping[str, str], name: str) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        wandb = importlib.import_module("wandb")
        online = found.get("mode") == "online"
        folder = Path(found["dir"]).absolute() if found.get("dir") else Workspace().home / "wandb"
        folder.mkdir(parents=True, exist_ok=True)
        project = found.get("project") or os.environ.get("WANDB_PROJECT", "") or "luthier"
        same = hashlib.blake2b(f"{project} {name}".encode(), digest_size=8).hexdigest()
        self._run: Any = wandb.init(
            mode="online" if online else "offline",
            project=project,
            entity=found.get("entity") or None,
            name=found.get("name") or name,
            group=name[:120],
            tags=[unquote(one.strip()) for one in found.get("tags", "").split(",") if one.strip()] or None,
            dir=str(folder),
            reinit="create_new",
            settings=wandb.Settings(**_SILENT),
            **({"id": same, "resume": "allow"} if online else {}),
        )
        self._run.define_metric("train/step", hidden=True)
        for part in ("train/*", "validation/*"):
            self._run.define_metric(part, step_metric="train/step")

    def settings(self, values: dict[str, Any]) -> None:
        """The run's configuration."""
        self._run.config.update(values, allow_val_change=True)

    def figures(self, values: dict[str, float], step: int, at: float) -> None:
        """Curves over ``train/step``; what is measured once (``test/...``, seconds of a stage) goes to the summary."""
        curves = {name: value for name, value in values.items() if name.split("/")[0] in ("train", "validation")}
        once = {name: value for name, value in values.items() if name not in curves}
        if curves:
            self._run.log({**curves, "train/step": step})
        if once:
            self._run.summary.update(once)

    def facts(self, values: dict[str, str]) -> None:
        """Texts in the summary."""
        self._run.summary.update(values)

    def artifact(self, made: Made) -> None:
        """Only its id is told (a fact); models stay where they are."""

    def end(self, state: State) -> None:
        """Writes everything down."""
        self._run.summary.update({"luthier.state": state})
        self._run.finish(exit_code=0 if state == "succeeded" else 1)


class Wandb:
    """See the module."""

    name = "wandb"
    summary = "runs and figures for Weights & Biases, offline unless mode=online (extra: wandb)"

    def open(self, target: str) -> Callable[[Event], None]:
        """``project=...;name=...;entity=...;tags=a,b;dir=...;mode=...``; raises ``InputError`` and ``MissingExtra``."""
        place, found = options(self.name, target, KEYS)
        if place and "dir" in found:
            raise InputError(f"wandb: two folders, {place!r} and dir={found['dir']}", "write one of them")
        if place:
            found["dir"] = place
        if found.get("mode", "offline") not in MODES:
            raise InputError(f"wandb: mode={found['mode']} is unknown", "mode=offline (the default) or mode=online")
        if find_spec("wandb") is None:
            raise MissingExtra("wandb", "wandb")
        if found.get("mode") == "online" and not _has_key():
            raise InputError("wandb: mode=online needs an API key", "set WANDB_API_KEY, or leave mode out and use wandb sync later")
        return Careful(self.name, Tracker(lambda name: _Run(found, name)).take)


def _has_key() -> bool:
    """Whether a key is there; without one the library would ask for it in the terminal and wait."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "") or "https://api.wandb.ai").hostname or ""
    with contextlib.suppress(OSError, netrc.NetrcParseError):
        return netrc.netrc().authenticators(host) is not None
    return False


plugin = Wandb()
