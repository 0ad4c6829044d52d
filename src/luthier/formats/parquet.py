"""Parquet: columns on the disk, read a few thousand rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luthier.core.errors import InputError
from luthier.core.ports import BadRow, Row

ROWS_A_BATCH = 1024
NOT_UTF8 = ("holds bytes that are not UTF-8 in a column of text", "write the column as UTF-8")
"""Reason and remedy of such a row."""


def values_of(batch: Any) -> Iterator[dict[str, Any] | None]:
    """The rows of an Arrow record batch; ``None`` for one whose text is not UTF-8, which Arrow does not look at."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for number in range(batch.num_rows):
            try:
                yield batch.slice(number, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield None


class Parquet:
    """See the module."""

    name = "parquet"
    summary = "Parquet, as pandas, polars and the hub write it"
    suffixes = (".parquet", ".pq")

    def sniff(self, path: Path, head: bytes) -> float:
        """Sure by its first four bytes or its suffix."""
        return 1.0 if head.startswith(b"PAR1") else 0.9 if path.suffix.lower() in self.suffixes else 0.0

    def rows(self, path: Path, *, encoding: str = "", delimiter: str = "") -> Iterator[Row | BadRow]:
        """Rows by column name; ``line`` is the row's number from 1."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        size = path.stat().st_size
        if not size:
            raise InputError(f"{path}: the file is empty", "give a file with at least two rows")
        try:
            with pq.ParquetFile(path) as reader:
                total = reader.metadata.num_rows
                if not total:
                    raise InputError(f"{path}: there are columns and no row", "give a file with at least two rows")
                number = 0
                for batch in reader.iter_batches(ROWS_A_BATCH):
                    for values in values_of(batch):
                        number += 1
                        yield Row(number, values, size * number // total) if values is not None else BadRow(number, "", *NOT_UTF8)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, InputError):
                raise
            reason = str(error).splitlines()[0][:160]
            raise InputError(f"{path}: not a whole Parquet file (truncated or damaged): {reason}", "copy or write the file again") from None


plugin = Parquet()
