"""The lines of a batch's input: each a request with an id of the caller's own; what is wrong with a file is said by line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from luthier.app import jsonl_lines
from luthier.core.batch import MOST_LINES, url_of
from luthier.core.errors import RowError

SHOWN = 50
"""Faults that are told of a file."""

LONGEST_ID = 512


class Line(NamedTuple):
    """A request: its line from 1, the caller's id for it, its body."""

    number: int
    custom_id: str
    body: dict[str, Any]


class Checked(NamedTuple):
    """How many requests a file holds, and its faults as OpenAI's objects (``code``, ``line``, ``message``, ``param``)."""

    total: int
    faults: list[dict[str, Any]]


def lines(path: Path, url: str) -> Iterator[Line]:
    """The requests of a file; raises ``RowError`` at a line that is none."""
    for line in jsonl_lines.lines(path):
        yield _line(line, url)


def check(path: Path, url: str, beat: Callable[[], None] = lambda: None) -> Checked:
    """Looks at every line before any is asked. ``url``: the address that all of them must have."""
    seen: dict[str, int] = {}
    faults: list[dict[str, Any]] = []
    total = 0
    for line in jsonl_lines.lines(path):
        beat()
        total += 1
        if total > MOST_LINES:
            faults.append(_fault("too_many_lines", None, f"more than {MOST_LINES:,} requests in one batch: send several files", None))
            break
        try:
            name = _line(line, url).custom_id
            if name in seen:
                raise RowError("custom_id", f"is that of line {seen[name]}, too", "give each request an id of its own")
            seen[name] = line.number
        except RowError as error:
            faults.append(_fault("invalid_line", line.number, f"line {line.number}: {error.message}; {error.hint}", error.field or None))
        if len(faults) >= SHOWN:
            break
    if not total:
        faults.append(_fault("empty_file", None, "the file has no request", None))
    return Checked(total, faults)


def _line(line: jsonl_lines.Line, url: str) -> Line:
    said = jsonl_lines.parse(line.data)
    name, method, address, body = (said.get(part) for part in ("custom_id", "method", "url", "body"))
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_ID:
        raise RowError("custom_id", "is no text, or empty, or too long", f"at most {LONGEST_ID} characters, one of its own for each line")
    if method != "POST":
        raise RowError("method", f"is {str(method)[:20]!r}", "write POST")
    if not isinstance(address, str) or url_of(address) != url:
        raise RowError("url", f"is {str(address)[:60]!r}, the batch's endpoint is {url!r}", "one endpoint a batch")
    if not isinstance(body, dict):
        raise RowError("body", "is no object", "write the request's own JSON")
    if body.get("stream"):
        raise RowError("body.stream", "is true", "a batch has whole answers: leave it out")
    return Line(line.number, name, body)


def _fault(code: str, line: int | None, message: str, param: str | None) -> dict[str, Any]:
    return {"code": code, "line": line, "message": message, "param": param}
