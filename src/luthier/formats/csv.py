"""CSV: a header line, then one row a line; the delimiter is found from the first lines."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from luthier.core.errors import InputError
from luthier.core.personal_data import mask_text
from luthier.core.ports import BadRow, Row
from luthier.formats import _text

DELIMITERS = (",", ";", "\t", "|")
LARGEST_CELL = 32_000_000
"""Characters; a larger cell means a quote that was left open."""


_TAB = ("\\t", "tab")
_NEVER_CLOSED = ("a quote is opened and never closed", "close the quote or double it")


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

    def __init__(self, path: Path, opened: _text.Opened) -> None:
        self.path = path
        self.opened = opened
        self.current: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for line in _text.lines(self.path, self.opened.text, "is this a CSV file?"):
            self.current.append(line)
            yield line

    def open_quote(self, delimiter: str) -> bool:
        """Whether the row became one of many lines by a quote that nobody closed: it ends with the file, or at another row's quote."""
        if len(self.current) < 2:
            return False
        try:
            list(csv.reader(self.current, delimiter=delimiter, strict=True))
        except csv.Error as error:
            return "unexpected end" in str(error) or "expected after" in str(error)
        return False

    def refused(self, line: int, reason: str, remedy: str) -> Iterator[BadRow]:
        """Each line of the row being read as a row of its own: that is what was lost, and what the gate must count."""
        for number, text in enumerate(self.current):
            if not number:
                more = f": {len(self.current)} lines became one row" if len(self.current) > 1 else ""
                yield BadRow(line, "", reason + more, remedy)
            elif text.strip("\r\n"):
                yield BadRow(line + number, "", f"belongs to the row of line {line}: {reason}", remedy)


def _checked_delimiter(given: str) -> str:
    delimiter = "\t" if given in _TAB else given
    if delimiter and (len(delimiter) > 1 or delimiter in '"\r\n'):
        raise InputError(f"data.delimiter: {given!r} is not one character", "e.g. , or ; or | (a tab is written tab)")
    return delimiter


def read_rows(path: Path, encoding: str, delimiter: str) -> Iterator[Row | BadRow]:
    """The rows of a delimited file; also used for TSV."""
    csv.field_size_limit(LARGEST_CELL)
    delimiter = _checked_delimiter(delimiter)
    with _text.opened(path, encoding) as opened, _text.damage_named(path):
        lines = _Lines(path, opened)
        if not delimiter:
            head = _text.read_head(path)
            delimiter = find_delimiter(head.decode(encoding or _text.detect_encoding(head), errors="replace"))
        reader = csv.reader(iter(lines), delimiter=delimiter)
        header = _header(path, reader, lines, delimiter)
        width, seen = len(header), 0
        while True:
            lines.current.clear()
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                remedy = f"is a quote left open? cells hold {LARGEST_CELL:,} characters at most"
                yield from lines.refused(line, f"cannot be read: {error}", remedy)
                seen += 1
                continue
            if not cells:
                continue
            seen += 1
            if lines.open_quote(delimiter):
                yield from lines.refused(line, *_NEVER_CLOSED)
            elif len(cells) != width:
                reason = f"has {len(cells)} cells, the header has {width}"
                yield BadRow(line, "", reason, f"put the text in double quotes when it holds a {delimiter!r}")
            elif _text.undecodable("".join(cells)):
                yield BadRow(line, "", *_text.NOT_UTF8)
            else:
                yield Row(line, dict(zip(header, cells, strict=True)), opened.raw.tell())
        if not seen:
            raise InputError(f"{path}: there is a header and no row", "give a file with at least two rows")


def _header(path: Path, reader: Iterator[list[str]], lines: _Lines, delimiter: str) -> list[str]:
    try:
        header = next((cells for cells in reader if any(cell.strip() for cell in cells)), None)
    except csv.Error as error:
        raise InputError(f"{path}:1: the header cannot be read: {error}", "is this a CSV file?") from None
    if header is None:
        raise InputError(f"{path}: the file is empty", "give a file with at least a header and two rows")
    if lines.open_quote(delimiter):
        raise InputError(f"{path}:1: the header cannot be read: {_NEVER_CLOSED[0]}", _NEVER_CLOSED[1])
    header = [name.strip() for name in header]
    if len(header) == 1:
        other = next((d for d in DELIMITERS if d != delimiter and d in header[0]), "")
        if other:
            raise InputError(
                f"{path}:1: with the delimiter {delimiter!r} the header is one column, {mask_text(header[0])[0]!r}",
                f"the delimiter looks like {other!r}: " + _set_delimiter("tab" if other == "\t" else other),
            )
    double = next((name for name, times in Counter(header).items() if times > 1 and name), "")
    if double:
        raise InputError(f"{path}:1: the column {mask_text(double)[0]!r} is there twice", "rename one of them")
    return [name or f"column_{number}" for number, name in enumerate(header, 1)]


def _set_delimiter(shown: str) -> str:
    """How to say it; in a setting the quotes are YAML's, which would read a bare ``|`` as something else."""
    return f"--delimiter '{shown}' (in a run: --set data.delimiter='\"{shown}\"')"


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
