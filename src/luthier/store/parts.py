"""Rows that are made one lot after the other, kept as whole numbered files of JSON lines: after a SIGKILL each is whole or not there.

The first line of a part is its head (counts, what columns there are ...), so that what was done already is known without reading it all.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from luthier.store import files

Record = dict[str, Any]


class PartFiles:
    """The parts in a folder; ``heads``: those of the parts that are there, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.heads = [_head(path) for path in itertools.takewhile(Path.is_file, map(self._path, itertools.count()))]

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:07d}.jsonl"

    def add(self, head: Record, rows: Iterable[Mapping[str, Any]]) -> None:
        """Writes the next part whole."""
        files.write_bytes(self._path(len(self.heads)), b"".join(map(as_line, [head, *rows])))
        self.heads.append(head)

    def rows(self) -> Iterator[Record]:
        """The rows of every part, in order."""
        for path in map(self._path, range(len(self.heads))):
            with path.open(encoding="utf-8") as lines:
                next(lines)
                yield from map(json.loads, lines)

    def total(self, name: str) -> int:
        """A count of the heads, over all parts."""
        return sum(int(head[name]) for head in self.heads)


def _head(path: Path) -> Record:
    with path.open(encoding="utf-8") as lines:
        found: Record = json.loads(next(lines))
    return found


def as_line(row: Mapping[str, Any]) -> bytes:
    """A row as a line of JSON; half a character, which UTF-8 cannot hold, is written as its escape."""
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
