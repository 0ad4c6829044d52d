"""What a label may be: one label of a message, several, or spans of it; checked once, for every door and every import."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

from luthier.core.errors import InputError, UnknownName

Kind: TypeAlias = Literal["label", "labels", "spans"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Value: TypeAlias = Any
"""By kind: a text; a sorted list of texts; a list of ``{"start", "end", "label"}`` in order (characters; ``end``: the first after)."""

LONGEST = 200
"""Characters of a label."""

MOST = 1000
"""Labels, or spans, of one message."""


def check_kind(kind: str) -> Kind:
    """The kind; raises ``UnknownName``."""
    for known in KINDS:
        if kind == known:
            return known
    raise UnknownName.among("kind of label", kind, KINDS)


def checked(kind: Kind, value: Any, text: str, known: Collection[str], *, new: bool = False) -> Value:
    """The value in its one form. Raises ``InputError`` for one that the kind cannot have and, unless ``new``, for one not in ``known``."""
    made = {"label": _one, "labels": _several, "spans": _spans}[kind](value, text)
    if not new:
        for name in labels_in(kind, made):
            if name not in known:
                hint = UnknownName.among("label", name, known).hint
                raise InputError(f"label: {name!r} is not a label of this labelling", f"{hint}; a new one is given with new=true")
    return made


def labels_in(kind: Kind, value: Value) -> list[str]:
    """The labels that a value names."""
    if kind == "label":
        return [value]
    return list(value) if kind == "labels" else list(dict.fromkeys(span["label"] for span in value))


def known_labels(kind: Kind, declared: Iterable[str], values: Iterable[Value]) -> list[str]:
    """Every label: those that were declared and those that people used, sorted."""
    return sorted({*declared, *(name for value in values for name in labels_in(kind, value))})


def name_of(value: Any) -> str:
    """A label as text; raises ``InputError`` for one that is empty, too long or no text."""
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"label: is {_shown(value)}, not a text", "give a label's name")
    name = value.strip()
    if len(name) > LONGEST or not name.isprintable():
        raise InputError(f"label: {name[:40]!r} ... is longer than {LONGEST} characters or holds control characters", "give a short name")
    return name


def _one(value: Any, text: str) -> str:
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    return name_of(value)


def _several(value: Any, text: str) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or len(names) > MOST:
        raise InputError(f"labels: is {_shown(value)}, not a list of labels", 'give ["label", ...]; [] says that none is right')
    return sorted({name_of(name) for name in names})


def _spans(value: Any, text: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or len(value) > MOST:
        raise InputError(
            f"spans: is {_shown(value)}, not a list", 'give [{"start": 0, "end": 5, "label": "name"}]; [] says that there is none'
        )
    spans = sorted((_span(one, number, text) for number, one in enumerate(value)), key=lambda span: (span["start"], span["end"]))
    for before, after in itertools.pairwise(spans):
        if after["start"] < before["end"]:
            raise InputError(f"spans: {_place(before)} and {_place(after)} overlap", "give spans that do not overlap")
    return spans


def _span(one: Any, number: int, text: str) -> dict[str, Any]:
    if not isinstance(one, Mapping):
        raise InputError(f"spans[{number}]: is {_shown(one)}, not an object", 'give {"start": 0, "end": 5, "label": "name"}')
    start, end = one.get("start"), one.get("end")
    whole = all(isinstance(at, int) and not isinstance(at, bool) for at in (start, end))
    if not (whole and 0 <= start < end <= len(text)):  # type: ignore[operator]
        raise InputError(
            f"spans[{number}]: {_shown(start)} to {_shown(end)} is no part of a text of {len(text)} characters",
            "start and end count characters from 0; end is the first one after the span",
        )
    return {"start": start, "end": end, "label": name_of(one.get("label"))}


def _place(span: Mapping[str, Any]) -> str:
    return f"{span['start']}-{span['end']} {span['label']}"


def _shown(value: Any) -> str:
    return f"{value!r:.60}" if isinstance(value, str | int | float) or value is None else f"a {type(value).__name__}"


def marks(kind: Kind, values: Sequence[Value], labels: Sequence[str]) -> Any:
    """[values, labels] bool: which label each value has (label and labels only)."""
    import numpy as np

    index = {label: number for number, label in enumerate(labels)}
    found = np.zeros((len(values), len(labels)), dtype=bool)
    for row, value in enumerate(values):
        found[row, [index[name] for name in labels_in(kind, value)]] = True
    return found
