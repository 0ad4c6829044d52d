"""A person's judgement of an answer, checked and masked before it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from luthier.core.errors import InputError, UnknownName
from luthier.core.events import FeedbackGiven
from luthier.core.types import Schema
from luthier.stages.serve.masking import Masking
from luthier.store import files

SHOWN = 80
"""Characters of a wrong label that an error repeats."""


def judgement(
    endpoint: str, identity: str, *, thumbs: str = "", right: Any = None, comment: str = "", schema: Schema, masking: Masking
) -> FeedbackGiven:
    """The event to journal: the comment is masked, and ``right`` is a label (or labels) that the endpoint knows.

    Raises ``InputError``, with the nearest labels for one that is unknown.
    """
    if thumbs not in ("", "up", "down"):
        raise InputError(f"thumbs: {thumbs!r} is neither 'up' nor 'down'", "say up or down, or leave it out")
    if not (thumbs or right is not None or comment):
        raise InputError("feedback: says nothing", "send thumbs, right or comment")
    kept = {"thumbs": thumbs, "right": None if right is None else _checked(right, schema, masking), "comment": masking.kept(comment)}
    return FeedbackGiven.model_validate({"endpoint": endpoint, "id": identity, **kept})


def schema_of(folder: Path) -> Schema:
    """What an exported folder says of its labels (``{}`` when it says nothing)."""
    path = folder / "schema.json"
    found: Schema = files.read_json(path) if path.is_file() else {}
    return found


def _checked(right: Any, schema: Schema, masking: Masking) -> str | list[str]:
    names = [right] if isinstance(right, str) else right
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"right: is a {type(right).__name__}, not a label or a list of labels", 'send "right": "label"')
    labels = schema.get("labels")
    if labels is None:  # a task whose answers are free text
        names = [masking.kept(name) for name in names]
        return names[0] if isinstance(right, str) else names
    for name in names:
        if name not in labels:
            shown = name if len(name) <= SHOWN else f"{name[:SHOWN]}..."
            raise InputError(f"right: {shown!r} is not a label of this endpoint", UnknownName.among("label", shown, labels).hint)
    if isinstance(right, str):
        return right
    if len(names) != 1 and not schema.get("multi_label", False):
        raise InputError(f"right: {len(names)} labels, and this endpoint answers with one", 'send "right": "label"')
    return list(dict.fromkeys(names))
