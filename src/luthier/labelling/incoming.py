"""Messages as they come, from a file or over HTTP: checked, and with the labels that people gave them elsewhere."""

from __future__ import annotations

import contextlib
import json
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from luthier.core.errors import InputError, RowError
from luthier.core.types import Column
from luthier.labelling.values import Kind, Value, checked

COLUMNS = (
    Column("text", "the message", aliases=("message", "utterance", "sentence", "query", "body", "content", "review")),
    Column("label", "its label or labels, where it has some", required=False, aliases=("labels", "category", "intent", "class", "topic")),
    Column("entities", "its spans, where it has some", required=False, aliases=("spans",)),
)
LONGEST = 100_000
"""Characters of a message."""


UNWRITABLE = re.compile("[\0\ud800-\udfff]")


class Given(NamedTuple):
    """A label that came with a message."""

    author: str
    at: float
    value: Value


class Incoming(NamedTuple):
    """A message and its labels. ``columns``: what else was said of it."""

    text: str
    columns: dict[str, Any]
    source: str
    given: list[Given]


def incoming(kind: Kind, row: Mapping[str, Any], author: str, now: float) -> Incoming:
    """``{text, label | labels | entities, columns, source, annotations: [{author, at, value}]}`` as a message; raises ``RowError``.

    A label without an author is ``author``'s, of now. Times of before 1970 or after now are taken for now.
    """
    text = row.get("text")
    if text is not None and not isinstance(text, str):
        raise RowError("text", f"is a {type(text).__name__}, not text", "write the message as text")
    if not text or not text.strip():
        raise RowError("text", "is empty", "write the message, or leave the row out")
    if UNWRITABLE.search(text):
        raise RowError("text", "holds a NUL or half an emoji, which nothing can keep", "save the file as UTF-8")
    if len(text) > LONGEST:
        raise RowError("text", f"holds {len(text):,} characters, the most is {LONGEST:,}", "shorten it")
    # Spans count characters of the text as it came.
    text = text if kind == "spans" else text.strip()
    said = [*(row.get("annotations") or ()), *_own(kind, row)]
    given = [_given(kind, one, text, author, now) for one in said]
    columns = row.get("columns") or {}
    return Incoming(text, plain(columns), _writable(str(row.get("source") or "")), given)


def sendable(
    kind: Kind, rows: Iterable[Mapping[str, Any]], author: str, refuse: Callable[[dict[str, Any]], None]
) -> Iterator[dict[str, Any]]:
    """The rows as JSON, for a server: dates and the like as text, labels as annotations; ``refuse`` is told of what cannot be used."""
    now = time.time()
    for number, row in enumerate(rows, 1):
        try:
            one = incoming(kind, row, author, now)
        except RowError as error:
            refuse(refusal(number, error))
            continue
        said = [given._asdict() | {"at": None if given.at == now else given.at} for given in one.given]
        yield {"text": one.text, "columns": one.columns, "source": one.source[:1000], "annotations": said}


def refusal(number: int, error: RowError) -> dict[str, Any]:
    """A row that cannot be used, as every door tells it."""
    return {"row": number, "field": error.field, "reason": error.reason, "remedy": error.remedy}


def _own(kind: Kind, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The label that the row itself carries; an empty cell is none."""
    names = ("entities", "spans") if kind == "spans" else ("label", "labels")
    value = next((row[name] for name in names if not _empty(row.get(name))), None)
    if isinstance(value, str) and value.lstrip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    return [] if value is None else [{"value": value}]


def _empty(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def _given(kind: Kind, one: Any, text: str, author: str, now: float) -> Given:
    if not isinstance(one, Mapping) or "value" not in one:
        raise RowError("annotations", "holds what is no annotation", 'write {"author": "...", "at": 0, "value": ...}')
    at = one.get("at")
    known = isinstance(at, int | float) and not isinstance(at, bool) and math.isfinite(at) and 0 < at <= now
    value = one["value"]
    if kind == "label" and isinstance(value, int | float) and not isinstance(value, bool):
        value = str(int(value) if isinstance(value, float) and value.is_integer() else value)
    try:
        made = checked(kind, value, text, (), new=True)
    except RowError:
        raise
    except InputError as error:
        raise RowError("label" if kind != "spans" else "entities", error.message, error.hint) from None
    return Given(_author(one.get("author"), author), float(at) if known else now, made)  # type: ignore[arg-type]


def _author(name: Any, author: str) -> str:
    """Whoever is named, else ``author``; a bad name refuses its row, not all of them."""
    try:
        return author_of(name or author)
    except InputError as error:
        raise RowError("annotations", error.message, error.hint) from None


def author_of(name: Any) -> str:
    """An author's name; raises ``InputError``."""
    if not isinstance(name, str) or not name.strip() or len(name) > 200 or not name.isprintable():
        raise InputError(f"author: {name!r:.80} cannot name an author", "give a short name, e.g. ann")
    return name.strip()


def plain(columns: Mapping[Any, Any]) -> dict[str, Any]:
    """Columns that every database and JSON keep."""
    return {
        _writable(str(name)): value if isinstance(value, int) or value is None else _writable(str(value)) for name, value in columns.items()
    }


def _writable(text: str) -> str:
    return UNWRITABLE.sub("\ufffd", text)
