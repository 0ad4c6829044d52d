"""Rows whose spans count characters of a text in the same row: which text that is, and the spans moved with it when it is masked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from luthier.core import edits as places
from luthier.core.edits import Edit
from luthier.core.tags import ENDS, STARTS

TEXTS = ("text", "body", "message", "sentence", "utterance", "query", "content", "input")
"""Names of a column that spans count in, the likeliest first; else it is the only text that is long enough."""


def spans_of(value: Any) -> list[dict[str, Any]] | None:
    """A cell as a list of spans (or the JSON of one); ``None`` for anything else, and for an empty list, which needs nothing."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    ours = (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) and None not in (_key(one, STARTS), _key(one, ENDS)) for one in value)
    )
    return value if ours else None


def text_column(row: Mapping[str, Any]) -> str:
    """The column that the row's spans count in; "" when there are no spans, or no text that is as long as they say."""
    ends = [one[_key(one, ENDS) or ""] for value in row.values() for one in spans_of(value) or ()]
    if not ends:
        return ""
    fitting = [name for name, value in row.items() if isinstance(value, str) and spans_of(value) is None and len(value) >= max(ends)]
    return next((name for name in TEXTS if name in fitting), fitting[0] if len(fitting) == 1 else "")


def moved(value: Any, edits: Sequence[Edit]) -> Any:
    """A cell of spans after the edits of their text, in the form that it had; other keys of a span are kept."""
    found = []
    for one in spans_of(value) or ():
        start, end = _key(one, STARTS) or "", _key(one, ENDS) or ""
        first, last = places.after(one[start], one[end], edits)
        found.append({**one, start: first, end: last})
    return json.dumps(found, ensure_ascii=False) if isinstance(value, str) else found


def _key(span: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """Which of the names holds a whole number."""
    return next((name for name in names if isinstance(span.get(name), int) and not isinstance(span[name], bool)), None)
