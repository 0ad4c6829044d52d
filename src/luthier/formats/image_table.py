"""CSV, TSV or JSONL whose rows name pictures by their paths, from the folder of the file on.

A column counts when its first value names a picture that is there (or, where none does, could be one); its values are then the pictures
themselves. Addresses of the network are refused: whoever could have them fetched could have this machine ask what only it reaches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from luthier.core.errors import InputError, LuthierError
from luthier.core.ports import BadRow, Row
from luthier.formats import _text
from luthier.formats._pictures import Pictures, address, named
from luthier.formats._rows import converted
from luthier.formats.csv import read_rows
from luthier.formats.jsonl import read_objects

TABLES = (".csv", ".tsv", ".tab")
LINES = (".jsonl", ".ndjson", ".json")


def _inner(path: Path, encoding: str, delimiter: str) -> Iterator[Row | BadRow]:
    suffix = _text.inner_suffix(path)
    if suffix in LINES:
        return read_objects(path, encoding)
    return read_rows(path, encoding, delimiter or ("\t" if suffix in TABLES[1:] else ""))


class ImageTable:
    """See the module."""

    name = "image-table"
    summary = "CSV, TSV or JSONL that names pictures by their paths beside the file"
    suffixes = TABLES + LINES
    makes = ("image",)

    def sniff(self, path: Path, head: bytes) -> float:
        """Sure when the first row names a picture that is there."""
        if path.is_dir() or _text.inner_suffix(path) not in self.suffixes:
            return 0.0
        try:
            first = next((row for row in _inner(path, "", "") if isinstance(row, Row)), None)
            if first is None:
                return 0.0
            with Pictures(path.parent) as pictures:
                cells = [value for value in first.values.values() if named(value)]
                return 0.97 if any(address(cell) or pictures.has(cell) for cell in cells) else 0.0
        except LuthierError:
            return 0.0

    def rows(self, path: Path, *, encoding: str = "", delimiter: str = "") -> Iterator[Row | BadRow]:
        """Rows with the bytes of their pictures in the place of the paths; a row whose picture is not there is a ``BadRow``."""
        columns: list[str] = []
        with Pictures(path.parent) as pictures:
            for row in _inner(path, encoding, delimiter):
                if isinstance(row, BadRow):
                    yield row
                    continue
                columns = columns or _columns(row, pictures)
                if not columns:
                    raise InputError(
                        f"{path}:{row.line}: no column names a picture", "give paths such as pictures/a.jpg, or another format"
                    )
                yield converted(row, partial(_with_pictures, columns, pictures))


def _columns(row: Row, pictures: Pictures) -> list[str]:
    likely = [name for name, value in row.values.items() if named(value)]
    return [name for name in likely if address(row.values[name]) or pictures.has(row.values[name])] or likely


def _with_pictures(columns: Sequence[str], pictures: Pictures, values: dict[str, Any]) -> dict[str, Any]:
    return values | {name: pictures.of(values, name) for name in columns}


plugin = ImageTable()
