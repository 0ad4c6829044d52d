"""Parquet: columns on the disk, read a few thousand rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from luthier.core.errors import InputError
from luthier.core.ports import BadRow, Row

ROWS_A_BATCH = 1024


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
                    for values in batch.to_pylist():
                        number += 1
                        yield Row(number, values, size * number // total)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, InputError):
                raise
            reason = str(error).splitlines()[0][:160]
            raise InputError(f"{path}: not a whole Parquet file (truncated or damaged): {reason}", "copy or write the file again") from None


plugin = Parquet()
