"""CSV: a header line, then one row a line; the delimiter is found from the first lines."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from luthier.core.errors import InputError
from luthier.core.ports import BadRow, Row
from luthier.formats import _text

DELIMITERS = (",", ";", "\t", "|")
LARGEST_CELL = 32_000_000
"""Characters; a larger cell means a quote that was left open."""


def find_delimiter(head: str) -> str:
    """The delimiter that cuts the first lines into the same number (2 or more) of cells; a comma when none does."""
    lines = head.splitlines(keepends=True)[:60]
    if len(lines) > 1 and not head.endswith(("\n", "\r")):
        lines = lines[:-1]
    best, most = ",", 0.0
    for delimiter in DELIMITERS:
        counts = Counter(len(cells) for cells in csv.reader(lines, delimiter=delimiter) if cells)
        width, times = counts.most_common(1)[0] if counts else (1, 0)
        header = next(csv.reader(lines, delimiter=delimiter), [])
        score = times / max(1, sum(counts.values())) + (0.5 if len(header) == width else 0.0)
        if width > 1 and score > most:
            best, most = delimiter, score
    return best


class _Lines:
    """Lines of the file, with those of the row being read kept: they tell an open quote from a row of many lines."""

    def __init__(self, opened: _text.Opened) -> None:
        self.opened = opened
        self.current: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for line in self.opened.text:
            self.current.append(line)
            yield line


def _open_quote(lines: list[str], delimiter: str) -> bool:
    try:
        list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


def read_rows(path: Path, encoding: str, delimiter: str) -> Iterator[Row | BadRow]:
    """The rows of a delimited file; also used for TSV."""
    csv.field_size_limit(LARGEST_CELL)
    with _text.opened(path, encoding) as opened, _text.damage_named(path):
        lines = _Lines(opened)
        if not delimiter:
            head = _text.read_head(path)
            delimiter = find_delimiter(head.decode(encoding or _text.detect_encoding(head), errors="replace"))
        reader = csv.reader(iter(lines), delimiter=delimiter)
        header = _header(path, reader, delimiter)
        width, seen = len(header), 0
        while True:
            lines.current.clear()
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                yield BadRow(line, "", f"cannot be read: {error}", f"is a quote left open? cells hold {LARGEST_CELL:,} characters at most")
                seen += 1
                continue
            if not cells:
                continue
            seen += 1
            if len(lines.current) > 1 and _open_quote(lines.current, delimiter):
                yield BadRow(
                    line,
                    "",
                    f"a quote is opened and never closed: {len(lines.current)} lines became one cell",
                    "close the quote or double it",
                )
            elif len(cells) != width:
                reason = f"has {len(cells)} cells, the header has {width}"
                yield BadRow(line, "", reason, f"put the text in double quotes when it holds a {delimiter!r}")
            elif _text.undecodable("".join(cells)):
                yield BadRow(line, "", "holds bytes that are not UTF-8", "save the file as UTF-8, or say --encoding cp1252")
            else:
                yield Row(line, dict(zip(header, cells, strict=True)), opened.raw.tell())
        if not seen:
            raise InputError(f"{path}: there is a header and no row", "give a file with at least two rows")


def _header(path: Path, reader: Iterator[list[str]], delimiter: str) -> list[str]:
    try:
        header = next((cells for cells in reader if any(cell.strip() for cell in cells)), None)
    except csv.Error as error:
        raise InputError(f"{path}:1: the header cannot be read: {error}", "is this a CSV file?") from None
    if header is None:
        raise InputError(f"{path}: the file is empty", "give a file with at least a header and two rows")
    header = [name.strip() for name in header]
    if len(header) == 1:
        other = next((d for d in DELIMITERS if d != delimiter and d in header[0]), "")
        if other:
            raise InputError(
                f"{path}:1: with the delimiter {delimiter!r} the header is one column, {header[0]!r}",
                f"the delimiter looks like {other!r}: --delimiter '{other}'",
            )
    double = next((name for name, times in Counter(header).items() if times > 1 and name), "")
    if double:
        raise InputError(f"{path}:1: the column {double!r} is there twice", "rename one of them")
    return [name or f"column_{number}" for number, name in enumerate(header, 1)]


class Csv:
    """See the module."""

    name = "csv"
    summary = "comma-separated values with a header (also ; | or tab; .gz and .xz)"
    suffixes = (".csv",)

    def sniff(self, path: Path, head: bytes) -> float:
        """Sure by its suffix; else likely when the first lines fall into the same number of cells."""
        if _text.inner_suffix(path) in self.suffixes:
            return 0.9
        if not head or path.is_dir() or head.lstrip()[:1] in (b"{", b"["):
            return 0.0
        sample = head.decode(_text.detect_encoding(head), errors="replace")
        return 0.4 if any(d in sample.split("\n", 1)[0] for d in DELIMITERS) else 0.1

    def rows(self, path: Path, *, encoding: str = "", delimiter: str = "") -> Iterator[Row | BadRow]:
        """Rows by header name; a row with too many or too few cells is a ``BadRow``."""
        yield from read_rows(path, encoding, delimiter)


plugin = Csv()
