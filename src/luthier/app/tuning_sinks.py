"""A job's integrations as sinks: where its events go besides the journal."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from luthier.core import registry
from luthier.core.errors import LuthierError
from luthier.core.events import Event

if TYPE_CHECKING:
    from luthier.app.service import Service

LOG = logging.getLogger("luthier.worker")


def open_sinks(service: Service, integrations: list[dict[str, Any]], job: str) -> list[Callable[[Event], None]]:
    """A function for each integration; one that cannot be opened is said in the job's events, and the job goes on without it."""
    found: list[Callable[[Event], None]] = []
    for one in integrations:
        name, target = _target(one, job, str(service.workspace.home))
        try:
            found.append(registry.get("sinks", name).open(target))
        except LuthierError as error:
            service.fine_tuning.say(job, f"The integration {name} is left out: {error.message}", {"hint": error.hint}, level="warn")
    return found


def _target(one: dict[str, Any], job: str, home: str) -> tuple[str, str]:
    """The sink's name and what it is opened with."""
    if one["type"] == "sink":
        return str(one["sink"]), str(one.get("target", ""))
    wanted = {"project": "", "name": job, "entity": "", **one["wandb"]}
    parts = [f"{key}={value}" for key, value in wanted.items() if value and key != "tags"]
    tags = ",".join(wanted.get("tags") or ())
    return "wandb", ";".join([*parts, *([f"tags={tags}"] if tags else []), f"dir={home}/wandb"])
