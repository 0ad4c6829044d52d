"""TSV: like CSV with a tab between the cells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from luthier.core.ports import BadRow, Row
from luthier.formats import _text
from luthier.formats.csv import read_rows


class Tsv:
    """See the module."""

    name = "tsv"
    summary = "tab-separated values with a header (.gz and .xz too)"
    suffixes = (".tsv", ".tab")

    def sniff(self, path: Path, head: bytes) -> float:
        """Sure by its suffix only: a tab in a header without one is found by CSV."""
        return 0.95 if _text.inner_suffix(path) in self.suffixes else 0.0

    def rows(self, path: Path, *, encoding: str = "", delimiter: str = "") -> Iterator[Row | BadRow]:
        """Rows by header name."""
        yield from read_rows(path, encoding, delimiter or "\t")


plugin = Tsv()
