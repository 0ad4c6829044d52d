"""Scored rows on the disk: whole parts in a folder beside the output, put together once every part is there.

Each part is whole or not there (``store.parts``). Where parts end follows from the input alone:
what is written in the end is the same whether the run was broken or not.
"""

from __future__ import annotations

import csv
import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from luthier.core.errors import Conflict, InputError
from luthier.store import files
from luthier.store.parts import PartFiles, Record

SUFFIXES = (".parquet", ".csv", ".jsonl")
ROWS_A_BATCH = 1024


def check_output(path: Path) -> None:
    """Raises ``InputError`` for an output that cannot be written."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"--output {str(path)!r}: is none of {', '.join(SUFFIXES)}", "name it like scored.parquet")
    if path.is_dir():
        raise InputError(f"--output {str(path)!r}: is a folder", "name a file")


class Parts:
    """The parts of one output."""

    def __init__(self, output: Path) -> None:
        """``begin`` comes first: before it nobody knows what is there."""
        self.output, self.folder = output, output.with_name(f"{output.name}.parts")
        self.refusals = output.with_name(f"{output.name}.refused.jsonl")

    def begin(self, command: Record) -> None:
        """Makes the folder, or finds it; raises ``Conflict`` when it belongs to something else than ``command``."""
        path = self.folder / "command.json"
        if path.is_file():
            other = files.read_json(path)
            changed = [name for name in command if other.get(name) != command[name]]
            if changed:
                remedy = f"give another --output, or remove {self.folder} to begin again"
                raise Conflict(f"{self.folder} holds parts of a run with another {' and '.join(changed)}", remedy)
        else:
            files.write_json(path, command)
        files.sweep(self.folder)
        self._parts = PartFiles(self.folder)

    def read(self) -> int:
        """How many rows of the input stand in the parts."""
        return self._parts.total("read")

    def add(self, scored: Sequence[Record], refused: Sequence[Record]) -> None:
        """Writes the next part: its head, then a line for each row."""
        columns = list(dict.fromkeys(name for row in scored for name in row))
        head = {"read": len(scored) + len(refused), "scored": len(scored), "refused": len(refused), "columns": columns}
        self._parts.add(head, [*({"row": row} for row in scored), *({"refused": row} for row in refused)])

    def finish(self) -> Record:
        """Writes the refusals, then the output, then removes the parts; how many rows were scored and refused."""
        with files.written_aside(self.refusals) as aside, aside.open("w", encoding="utf-8") as out:
            out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in self._rows("refused"))
        columns = list(dict.fromkeys(name for head in self._parts.heads for name in head["columns"]))
        with files.written_aside(self.output) as aside:
            {".csv": self._csv, ".jsonl": self._jsonl, ".parquet": self._parquet}[self.output.suffix](aside, columns)
        shutil.rmtree(self.folder)
        return {name: self._parts.total(name) for name in ("scored", "refused")}

    def _rows(self, kind: str) -> Iterator[Record]:
        return (found[kind] for found in self._parts.rows() if kind in found)

    def _jsonl(self, path: Path, _columns: list[str]) -> None:
        with path.open("w", encoding="utf-8") as out:
            out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in self._rows("row"))

    def _csv(self, path: Path, columns: list[str]) -> None:
        with path.open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([_cell(row.get(name)) for name in columns] for row in self._rows("row"))

    def _parquet(self, path: Path, columns: list[str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = self._schema(columns)
        with pq.ParquetWriter(path, schema) as writer:
            for batch in _batches(self._rows("row")):
                rows = [{field.name: _as(field.type, row.get(field.name)) for field in schema} for row in batch]
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))

    def _schema(self, columns: list[str]) -> Any:
        """What each column holds in all parts; one of several kinds is text, JSON where it is no text already."""
        import pyarrow as pa

        kinds: dict[str, Any] = {}
        for batch in _batches(self._rows("row")):
            for name in columns:
                kinds[name] = _wider(kinds.get(name, pa.null()), [row.get(name) for row in batch])
        return pa.schema([(name, pa.string() if pa.types.is_null(kinds.get(name, pa.null())) else kinds[name]) for name in columns])


def _wider(kind: Any, values: list[Any]) -> Any:
    import pyarrow as pa

    try:
        found = pa.array(values).type
        return pa.unify_schemas([pa.schema([("x", kind)]), pa.schema([("x", found)])], promote_options="permissive").field("x").type
    except (pa.ArrowException, OverflowError):
        return pa.string()


def _as(kind: Any, value: Any) -> Any:
    import pyarrow as pa

    return _cell(value) if pa.types.is_string(kind) and value is not None else value


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _batches(rows: Iterator[Record]) -> Iterator[list[Record]]:
    while batch := list(itertools.islice(rows, ROWS_A_BATCH)):
        yield batch
