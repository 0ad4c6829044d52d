"""Reads JSONL as an upload brings it: line by line in bounded memory, and strictly; what is wrong is said of its line."""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from luthier.core.errors import InputError, RowError
from luthier.core.message_rules import a_kind, shown_key

LONGEST_LINE_BYTES = 16_000_000
DEEPEST = 100
"""Objects and arrays inside each other; real training data has about ten."""

_ESCAPED = re.compile(r"\\u(?:0000|[dD][89abAB])")
"""A line without this holds neither NUL nor a lone half of a character: most lines need no look at every text."""

_WHOLE_LINE = "write one whole JSON object a line"
_HALF = re.compile("[\ud800-\udfff]")


class Line(NamedTuple):
    """A line that is there: its number from 1, and its bytes without the line's end (cut when it is longer than any may be)."""

    number: int
    data: bytes
    end_bytes: int


def lines(path: Path) -> Iterator[Line]:
    """The lines that are not blank. A byte order mark at the beginning is taken away (Azure's documents ask for one)."""
    with path.open("rb") as handle:
        number = 0
        while data := handle.readline(LONGEST_LINE_BYTES + 1):
            number += 1
            if len(data) > LONGEST_LINE_BYTES:
                _skip_line(handle)
            if number == 1:
                data = data.removeprefix(codecs.BOM_UTF8)
            if not data.isspace() and data:
                yield Line(number, data, handle.tell())


def _skip_line(handle: IO[bytes]) -> None:
    while (rest := handle.readline(LONGEST_LINE_BYTES)) and not rest.endswith(b"\n"):
        pass


def refuse_other_encodings(head: bytes) -> None:
    """Raises ``InputError`` for a file whose first bytes say that it is no text in UTF-8, or no plain text at all."""
    for mark in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        if head.startswith(mark):
            raise InputError("line 1: the file is UTF-16 or UTF-32", "save it as UTF-8")
    for magic, what in (
        (b"\x1f\x8b", "gzip"),
        (b"PK\x03\x04", "ZIP, or an Excel workbook"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"BZh", "bzip2"),
        (b"(\xb5/\xfd", "Zstandard"),
    ):
        if head.startswith(magic):
            raise InputError(f"line 1: the file is compressed ({what})", "unpack it and upload the file itself")


def parse(data: bytes) -> dict[str, Any]:
    """The object of a line; raises ``RowError`` that says what is wrong with it."""
    if len(data) > LONGEST_LINE_BYTES:
        raise RowError("", f"is longer than {LONGEST_LINE_BYTES:,} bytes", _WHOLE_LINE)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RowError("", f"byte {error.start + 1} is not UTF-8", "save the file as UTF-8") from None
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
    except RecursionError:
        raise RowError("", "is nested too deeply", f"at most {DEEPEST} levels") from None
    except json.JSONDecodeError as error:
        raise RowError("", f"is not JSON: {error.msg} at character {error.pos + 1}", _WHOLE_LINE) from None
    except RowError:
        raise
    except ValueError:
        raise RowError("", "holds a number of too many digits", "write shorter numbers, or text") from None
    if not isinstance(value, dict):
        hint = _WHOLE_LINE if not isinstance(value, list) else "write each element of the array as a line of its own"
        raise RowError("", f"is {a_kind(value)}, not an object", hint)
    _check_depth(value)
    if _ESCAPED.search(text) or "\0" in text:
        _check_texts(value, "")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise RowError(shown_key(twice), "is there twice in one object", "keep one of the two")
    return made


def _constant(name: str) -> Any:
    raise RowError("", f"holds {name}, which is no JSON", "write a number, or null")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise RowError("", f"holds the number {text[:20]}, which is too large", "write a smaller number")
    return number


def _check_depth(value: Any) -> None:
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one) if isinstance(inner, dict | list)]
        if not level:
            return
    raise RowError("", "is nested too deeply", f"at most {DEEPEST} levels")


def _check_texts(value: Any, place: str) -> None:
    """No text holds a NUL or half a character: databases, tokenizers and files refuse them. Depth is checked before."""
    if isinstance(value, str):
        if "\0" in value:
            raise RowError(place, "holds a NUL character", "take it out")
        if _HALF.search(value):
            raise RowError(place, "holds half a character (a lone surrogate)", "write the whole character, or take it out")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_texts(key, place or "a key")
            _check_texts(inner, f"{place}.{shown_key(key)}".lstrip("."))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _check_texts(inner, f"{place}[{number}]")
