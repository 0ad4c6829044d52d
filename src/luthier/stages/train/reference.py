"""What the model that a training starts from says of each item, asked once and carried with it, for tasks whose loss compares with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from luthier.core.hooks import compares, reference_of
from luthier.core.ports import Task
from luthier.core.types import Arrays, Item
from luthier.stages.inference import predict
from luthier.stages.train.features import content_key
from luthier.store import files


def compared(task: Task, model: Any, items: Sequence[Item], folder: Path | None = None) -> Sequence[Item]:
    """The items with the arrays of ``reference_of``; as they are for a task without. ``folder``: where what was asked is kept, for a
    training that is killed and goes on; ``None``: nowhere.
    """
    if not compares(task) or not items:
        return items
    place = folder / f"reference-{content_key(model, items)}.safetensors" if folder else None
    found = _kept(place) if place else {}
    if not found:
        found = reference_of(task, predict(task, model, items))
        if place and found:
            _keep(place, found)
    return [{**item, **{name: values[row] for name, values in found.items()}} for row, item in enumerate(items)]


def _kept(place: Path) -> Arrays:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        found: Arrays = load_file(place)
    except (SafetensorError, OSError):
        return {}
    return found


def _keep(place: Path, found: Arrays) -> None:
    from safetensors.numpy import save_file

    place.parent.mkdir(parents=True, exist_ok=True)
    with files.written_aside(place) as aside:
        save_file(found, aside)
