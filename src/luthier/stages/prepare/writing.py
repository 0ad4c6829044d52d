"""Cuts the spool into the Parquet files of the splits, as a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luthier.core.types import Example, Split, canonical_json
from luthier.stages.prepare.spool import Spool
from luthier.store import datasets

ROWS_A_GROUP = 8192
BYTES_A_GROUP = 32_000_000


def write_split(folder: Path, split: Split, spool: Spool, chosen: Any, merged: dict[str, str]) -> int:
    """Writes the rows that ``chosen`` [rows] selects, in the order they were read; ``merged`` renames labels. Returns how many."""
    return datasets.write_batches(folder, split, _groups(_selected(spool, chosen), merged))


def _selected(spool: Spool, chosen: Any) -> Iterator[Any]:
    import pyarrow as pa

    start = 0
    for batch in spool.batches():
        mask = chosen[start : start + batch.num_rows]
        start += batch.num_rows
        if mask.any():
            yield batch.filter(pa.array(mask))


def _groups(batches: Iterator[Any], merged: dict[str, str]) -> Iterator[Any]:
    """Larger batches: a row group of a few rows compresses badly and reads slowly."""
    import pyarrow as pa

    waiting: list[Any] = []
    rows = size = 0
    for batch in batches:
        waiting.append(_renamed(batch, merged) if merged else batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= ROWS_A_GROUP or size >= BYTES_A_GROUP:
            yield from pa.Table.from_batches(waiting).combine_chunks().to_batches()
            waiting, rows, size = [], 0, 0
    if waiting:
        yield from pa.Table.from_batches(waiting).combine_chunks().to_batches()


def _renamed(batch: Any, merged: dict[str, str]) -> Any:
    import pyarrow as pa

    column = batch.schema.get_field_index("target")
    renamed = [canonical_json(_rename(json.loads(target), merged)) for target in batch.column(column).to_pylist()]
    return batch.set_column(column, "target", pa.array(renamed, pa.string()))


def _rename(target: Any, merged: dict[str, str]) -> Any:
    if isinstance(target, list):
        return sorted({merged.get(one, one) for one in target})
    return merged.get(target, target) if isinstance(target, str) else target


def targets(folder: Path, split: Split) -> Iterator[Any]:
    """The targets of a written split; within a batch of rows each different one comes once."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(folder / f"{split}.parquet") as reader:
        for batch in reader.iter_batches(65_536, columns=["target"]):
            yield from map(json.loads, batch.column(0).unique().to_pylist())


def pick(spool: Spool, rows: Any) -> Iterator[Example]:
    """The examples with these row numbers (ascending), without their other columns, as a stream."""
    import pyarrow as pa

    start = 0
    for batch in spool.batches():
        low, high = rows.searchsorted([start, start + batch.num_rows])
        if high > low:
            chosen = batch.take(pa.array(rows[low:high] - start))
            column = batch.schema.get_field_index("columns")
            yield from datasets.from_batch(chosen.set_column(column, "columns", pa.array(["{}"] * chosen.num_rows, pa.string())))
        start += batch.num_rows
