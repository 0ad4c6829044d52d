"""Finds plugins: a file's presence in its room is its registration (``tasks/text_classification.py`` is ``text-classification``).

A plugin file ends with ``plugin = ItsClass()``. Other packages add the same through an entry point of the group ``luthier.<room>``.
Listing names imports none of the files.
"""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from luthier.core.errors import UnknownName

ROOMS: dict[str, str] = {
    "tasks": "task",
    "methods": "method",
    "metrics": "metric",
    "formats": "format",
    "runtimes": "runtime",
    "executors": "executor",
    "sinks": "sink",
    "baselines": "baseline",
}
"""Room -> what one of its files is called."""


@cache
def _places(room: str) -> dict[str, str]:
    """Name -> importable module (``package.module`` or ``package.module:attribute`` from an entry point)."""
    folder = Path(__file__).parent.parent / room
    found = {
        path.stem.replace("_", "-"): f"luthier.{room}.{path.stem}" for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")
    }
    for point in entry_points(group=f"luthier.{room}"):
        found.setdefault(point.name, point.value)
    return found


def names(room: str) -> list[str]:
    """The registered names of a room, sorted; imports nothing."""
    return sorted(_places(room))


def get(room: str, name: str) -> Any:
    """The plugin of that name; raises ``UnknownName`` with the nearest names."""
    places = _places(room)
    if name not in places:
        raise UnknownName.among(ROOMS[room], name, places)
    module, _, attribute = places[name].partition(":")
    return getattr(importlib.import_module(module), attribute or "plugin")
