"""Finds what to read: files, folders and made data sets, and the format that reads each of them."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.core import registry
from luthier.core.errors import InputError
from luthier.core.plan import DataPlan
from luthier.core.ports import BadRow, Row
from luthier.core.types import SPLITS, Split
from luthier.formats import _text

MADE = "made:"
SAY_FORMAT = "say --format (in a run: --set data.format=...)"


@dataclass(frozen=True)
class Source:
    """One thing to read. ``title`` stands in messages and artifacts (never an absolute path); ``role`` is the split it was given for."""

    role: Split
    title: str
    format: str
    size_bytes: int
    path: Path = Path()
    made: str = ""
    encoding: str = ""
    delimiter: str = ""
    seed: int = 0
    rows_wanted: int = 0

    def rows(self) -> Iterator[Row | BadRow]:
        """Its rows in order."""
        if not self.made:
            yield from registry.get("formats", self.format).rows(self.path, encoding=self.encoding, delimiter=self.delimiter)
            return
        from luthier.catalog.made import make

        for number, values in enumerate(make(self.made, rows=self.rows_wanted, seed=self.seed), 1):
            yield Row(number, values, number)


def find_sources(data: DataPlan, columns: Collection[str] = ()) -> list[Source]:
    """Every source of the plan, training first; ``columns``: those of the task, where a format depends on them.

    Raises ``InputError`` for a file that is missing, empty, binary or of no known format.
    """
    given = [(role, entry) for role in SPLITS for entry in getattr(data, role)]
    if not any(role == "train" for role, _ in given):
        raise InputError("data.train: there is no training data", "name a file: luthier prepare reviews.csv, --set data.train=reviews.csv")
    names = [Path(entry).name for _, entry in given]
    found = []
    for role, entry in given:
        title = entry if entry.startswith(MADE) else Path(entry).name
        if names.count(Path(entry).name) > 1 and not entry.startswith(MADE):
            title = f"{Path(entry).parent.name}/{title}"
        found.append(_made(role, entry, data) if entry.startswith(MADE) else _file(role, Path(entry), title, data, columns))
    return found


def _made(role: Split, entry: str, data: DataPlan) -> Source:
    # Each split is made with a seed of its own: the same rows in training and test would be a leak.
    seed = data.seed + SPLITS.index(role)
    return Source(role, entry, "made", 0, made=entry.removeprefix(MADE), seed=seed, rows_wanted=data.rows)


def _file(role: Split, path: Path, title: str, data: DataPlan, columns: Collection[str]) -> Source:
    if not path.exists():
        raise InputError(f"data.{role}: there is no file {str(path)!r}", _near(path))
    if path.is_dir():
        if (path / role).is_dir():
            path = path / role
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return Source(role, title, data.format or _sniff(path, b"", columns), size, path)
    with _text.damage_named(path):
        head = _text.read_head(path)
    _text.refuse_pickle(path, head)
    name = data.format or _sniff(path, head, columns)
    encoding = data.encoding or (_text.detect_encoding(head) if name not in ("parquet", "saved-dataset") else "")
    return Source(role, title, name, path.stat().st_size, path, encoding=encoding, delimiter=data.delimiter)


def _near(path: Path) -> str:
    folder = path.parent if path.parent.is_dir() else Path()
    near = difflib.get_close_matches(path.name, [file.name for file in folder.iterdir()], n=2, cutoff=0.5)
    return "did you mean " + " or ".join(repr(str(folder / name)) for name in near) + "?" if near else "check the path"


def _sniff(path: Path, head: bytes, columns: Collection[str] = ()) -> str:
    """The format that is surest of the file; one that turns columns into others (``turns``) is not for tasks that want those themselves,
    and one that makes columns (``makes``) is only for tasks that want these.
    """
    if not path.is_dir() and not head.startswith(b"PAR1") and path.suffix.lower() not in (".parquet", ".pq"):
        _text.refuse_binary(path, head)
    known: list[Any] = [registry.get("formats", name) for name in registry.names("formats")]
    wanted = [one for one in known if not hasattr(one, "makes") or set(one.makes) & set(columns)]
    formats = [one for one in wanted if not set(getattr(one, "turns", ())) & set(columns)]
    sureness = {plugin.name: plugin.sniff(path, head) for plugin in formats}
    best = max(sureness, key=lambda name: sureness[name], default="")
    if not best or sureness[best] <= 0:
        what = "no file of a data set in this folder" if path.is_dir() else "no known format"
        raise InputError(f"{path}: {what}", "give one of: " + ", ".join(registry.names("formats")) + f", or {SAY_FORMAT}")
    return best
