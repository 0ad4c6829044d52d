"""A job's integrations as sinks: where its events go besides the journal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from luthier.app.sinks import careful
from luthier.core.errors import LuthierError
from luthier.core.events import Event
from luthier.sinks.wandb import target_of

if TYPE_CHECKING:
    from luthier.app.service import Service


def open_sinks(service: Service, integrations: list[dict[str, Any]], job: str) -> list[Callable[[Event], None]]:
    """A function for each integration; one that cannot be opened, or fails, is said in the job's events, and the job goes on."""
    found: list[Callable[[Event], None]] = []
    for one in integrations:
        name, target = _target(one, job, str(service.workspace.home))
        try:
            found.append(careful(name, target, lambda text: service.fine_tuning.say(job, text, level="warn")))
        except LuthierError as error:
            service.fine_tuning.say(job, f"The integration {name} is left out: {error.message}", {"hint": error.hint}, level="warn")
    return found


def _target(one: dict[str, Any], job: str, home: str) -> tuple[str, str]:
    """The sink's name and what it is opened with. What a caller wrote stays a value: it cannot become ``mode=online`` or another folder."""
    if one["type"] == "sink":
        return str(one["sink"]), str(one.get("target", ""))
    said = one["wandb"]
    return "wandb", target_of(
        project=said["project"],
        name=said.get("name") or job,
        entity=said.get("entity") or "",
        tags=said.get("tags") or (),
        folder=f"{home}/wandb",
    )
