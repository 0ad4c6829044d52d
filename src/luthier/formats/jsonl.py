"""JSONL: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from luthier.core.errors import InputError
from luthier.core.ports import BadRow, Row
from luthier.formats import _text


def read_objects(path: Path, encoding: str) -> Iterator[Row | BadRow]:
    """The objects of a JSONL file; also used for chats."""
    with _text.opened(path, encoding) as opened, _text.damage_named(path):
        seen = 0
        for number, line in enumerate(_text.lines(path, opened.text, "JSONL has one object a line: is this one JSON array?"), 1):
            if line.isspace():
                continue
            if not seen and line.lstrip().startswith("["):
                raise InputError(
                    f"{path}:{number}: a JSON array; JSONL has one object a line", f"jq -c '.[]' {path.name} > {path.stem}.jsonl"
                )
            seen += 1
            yield _row(number, line, opened.raw.tell())
        if not seen:
            raise InputError(f"{path}: the file is empty", "give a file with at least two rows")


def _row(number: int, line: str, at_bytes: int) -> Row | BadRow:
    if _text.undecodable(line):
        return BadRow(number, "", *_text.NOT_UTF8)
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        where = f" at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
        return BadRow(number, "", f"not JSON{where}", "one whole JSON object a line")
    if not isinstance(values, dict):
        return BadRow(number, "", f"a {type(values).__name__}, not an object", 'write {"column": value, ...}')
    return Row(number, values, at_bytes)


class Jsonl:
    """See the module."""

    name = "jsonl"
    summary = "one JSON object a line (.gz and .xz too)"
    suffixes = (".jsonl", ".ndjson", ".json")

    def sniff(self, path: Path, head: bytes) -> float:
        """Sure by its suffix, likely when the first character opens an object."""
        if _text.inner_suffix(path) in self.suffixes:
            return 0.8
        return 0.6 if head.lstrip()[:1] == b"{" else 0.0

    def rows(self, path: Path, *, encoding: str = "", delimiter: str = "") -> Iterator[Row | BadRow]:
        """Rows as their objects; a line that is not an object is a ``BadRow``."""
        yield from read_objects(path, encoding)


plugin = Jsonl()
