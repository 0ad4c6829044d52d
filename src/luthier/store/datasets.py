"""Examples on the disk: one Parquet file a split, written and read as a stream.

Columns: id, inputs (JSON), target (JSON), group, source, columns (JSON).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from luthier.core.errors import Damaged
from luthier.core.types import SPLITS, Example, Split, canonical_json
from luthier.store import files
from luthier.store.attachments import attached

_COLUMNS = ("id", "inputs", "target", "group", "source", "columns")


def write_split(folder: Path, split: Split, examples: Iterable[Example], *, rows_a_batch: int = 4096) -> int:
    """Writes ``{split}.parquet`` whole; returns the number of rows."""

    def batches() -> Iterator[Any]:
        waiting: list[Example] = []
        for example in examples:
            waiting.append(example)
            if len(waiting) >= rows_a_batch:
                yield to_batch(waiting)
                waiting = []
        if waiting:
            yield to_batch(waiting)

    return write_batches(folder, split, batches())


def arrow_schema() -> Any:
    """The Arrow schema of a split's file."""
    import pyarrow as pa

    return pa.schema([(name, pa.string()) for name in _COLUMNS])


def to_batch(examples: Sequence[Example]) -> Any:
    """Examples as one Arrow record batch of that schema."""
    import pyarrow as pa

    return pa.RecordBatch.from_pylist([_row(example) for example in examples], schema=arrow_schema())


def from_batch(batch: Any) -> list[Example]:
    """The examples in such a record batch."""
    return [_example(row) for row in batch.to_pylist()]


def write_batches(folder: Path, split: Split, batches: Iterable[Any]) -> int:
    """Like ``write_split`` for rows that are Arrow record batches already (a spool being cut into splits)."""
    import pyarrow.parquet as pq

    count = 0
    with (
        files.written_aside(folder / f"{split}.parquet") as aside,
        pq.ParquetWriter(aside, arrow_schema(), compression="zstd") as writer,
    ):
        for batch in batches:
            writer.write_batch(batch)
            count += batch.num_rows
    return count


def _row(example: Example) -> dict[str, str]:
    return {
        "id": example.id,
        "inputs": canonical_json(example.inputs),
        "target": canonical_json(example.target),
        "group": example.group,
        "source": example.source,
        "columns": canonical_json(example.columns),
    }


def _example(row: dict[str, Any]) -> Example:
    return Example(
        id=row["id"],
        inputs=json.loads(row["inputs"]),
        target=json.loads(row["target"]),
        group=row["group"],
        source=row["source"],
        columns=json.loads(row["columns"]),
    )


def stream_split(folder: Path, split: Split, *, rows_a_batch: int = 4096) -> Iterator[Example]:
    """The examples of a split, in order, in bounded memory; nothing when the split is empty."""
    import pyarrow.parquet as pq

    path = folder / f"{split}.parquet"
    if not path.exists():
        return
    with _read(path), pq.ParquetFile(path) as reader:
        rows = (row for batch in reader.iter_batches(rows_a_batch) for row in batch.to_pylist())
        yield from attached(folder, map(_example, rows))


@contextlib.contextmanager
def _read(path: Path) -> Iterator[None]:
    """Turns what a torn or foreign file leads to into ``Damaged`` that names it."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        raise Damaged(f"{path}: not a whole Parquet file: {error}", "run prepare again") from None
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{path}: not a split of a dataset: {error!r}", "run prepare again") from None


def read_split(folder: Path, split: Split) -> list[Example]:
    """All examples of a split."""
    return list(stream_split(folder, split))


def count_splits(folder: Path) -> dict[Split, int]:
    """Rows in each split."""
    import pyarrow.parquet as pq

    counts: dict[Split, int] = {}
    for split in SPLITS:
        path = folder / f"{split}.parquet"
        if path.exists():
            with _read(path):
                counts[split] = pq.read_metadata(path).num_rows
    return counts
