"""Spans of a text as people write them down: read from a cell, checked, and moved when the text around them changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from luthier.core import edits as places
from luthier.core.edits import Edit
from luthier.core.errors import RowError
from luthier.core.tags import ENDS, STARTS

LABELS = ("label", "kind", "type", "entity", "entity_type", "tag")
"""What the kind of a span may be called."""
WRITE = 'write [{"start": 0, "end": 5, "label": "name"}], in characters; [] where there is none'


def entities_in(value: Any, text: str, field: str) -> list[dict[str, Any]]:
    """A cell (a list, or its JSON) as sorted ``{"start", "end", "label"}``; raises ``RowError`` for what is no span of this text."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else []
        except ValueError:
            raise RowError(field, "is not JSON", WRITE) from None
    value = [] if value is None or (isinstance(value, float) and value != value) else value
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        raise RowError(field, f"is a {type(value).__name__}, not a list", WRITE)
    found = sorted((_entity(one, text, f"{field}[{at}]") for at, one in enumerate(value)), key=lambda one: (one["start"], one["end"]))
    for left, right in pairwise(found):
        if right["start"] < left["end"]:
            shown = " and ".join(f"{one['label']} [{one['start']}:{one['end']}]" for one in (left, right))
            raise RowError(field, f"{shown} overlap", "keep one of them: a word has one tag")
    return found


def _entity(value: Any, text: str, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RowError(field, f"is a {type(value).__name__}, not an object", WRITE)
    label = next((value[name] for name in LABELS if isinstance(value.get(name), str) and value[name].strip()), "")
    start, end = (next((value[name] for name in names if name in value), None) for names in (STARTS, ENDS))
    if not label:
        raise RowError(field, "has no label", WRITE)
    if not isinstance(start, int) or not isinstance(end, int) or isinstance(start, bool) or isinstance(end, bool):
        raise RowError(field, f"start {start!r} and end {end!r} are not whole numbers", WRITE)
    if not 0 <= start < end <= len(text):
        raise RowError(
            field, f"[{start}:{end}] is no part of a text of {len(text)} characters", "count characters from 0; end is exclusive"
        )
    return {"start": start, "end": end, "label": label.strip()}


def moved(entities: Sequence[dict[str, Any]], edits: Sequence[Edit]) -> list[dict[str, Any]]:
    """The spans in the text after the edits."""
    return _each(entities, lambda start, end: places.after(start, end, edits))


def back(entities: Sequence[dict[str, Any]], edits: Sequence[Edit]) -> list[dict[str, Any]]:
    """The spans in the text before the edits."""
    return _each(entities, lambda start, end: places.before(start, end, edits))


def _each(entities: Sequence[dict[str, Any]], place: Callable[[int, int], tuple[int, int]]) -> list[dict[str, Any]]:
    """Two spans that an edit joined keep what the first one did not take."""
    found: list[dict[str, Any]] = []
    for entity in entities:
        start, end = place(entity["start"], entity["end"])
        start = max(start, found[-1]["end"]) if found else start
        if start < end:
            found.append({**entity, "start": start, "end": end})
    return found
