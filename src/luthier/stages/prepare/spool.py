"""Keeps rows on the disk between the two passes, and about 40 bytes a row in memory: what duplicates and splits are decided from."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.types import SPLITS, Example, names_in
from luthier.store import datasets

ROWS_A_BATCH = 2048
CHARS_A_BATCH = 8_000_000
"""Rows can be long, also in columns that are only kept along: memory is bounded by what they hold, not by how many they are."""


def labels_of(target: Any, stratum: str) -> tuple[str, ...]:
    """The labels that a row counts for: those of its record or list, else its stratum."""
    if isinstance(target, dict):
        return tuple(names_in(target))
    return tuple(target) if isinstance(target, list) and all(isinstance(one, str) for one in target) else (stratum,)


def _hash(value: str) -> int:
    """64 bits of a text; 0 for none."""
    return int.from_bytes(hashlib.blake2b(value.encode("utf-8", "replace"), digest_size=8).digest(), "big") if value else 0


class Spool:
    """Rows in the order they were read. Arrays are filled while writing; ``close`` makes them numpy arrays of length ``rows``."""

    def __init__(self, folder: Path) -> None:
        import pyarrow as pa

        folder.mkdir(parents=True)
        self.path = folder / "rows.arrow"
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._file = pa.OSFile(str(self.path), "wb")
        self._writer = pa.ipc.new_stream(self._file, datasets.arrow_schema(), options=options)
        self._waiting: list[Example] = []
        self._waiting_chars = 0
        self._ids, self._groups, self._keys = array("Q"), array("Q"), array("Q")
        self._strata, self._lines, self._chars = array("i"), array("I"), array("I")
        self._roles, self._files, self._flags = array("B"), array("H"), array("B")
        self._codes: dict[str, int] = {}
        self.strata: list[str] = []
        self.labels: list[tuple[str, ...]] = []
        self.rows = 0

    def add(self, example: Example, stratum: str, text: str, *, role: int, file: int, line: int, key: str, flags: int) -> None:
        """Takes one row; it is on the disk when its batch is full."""
        self._waiting.append(example)
        self._waiting_chars += len(text) + sum(len(value) for value in example.columns.values() if isinstance(value, str))
        self._ids.append(int(example.id, 16))
        self._groups.append(_hash(example.group))
        self._keys.append(_hash(key))
        code = self._codes.get(stratum)
        if code is None:
            code = self._codes[stratum] = len(self.strata)
            self.strata.append(stratum)
            self.labels.append(labels_of(example.target, stratum))
        self._strata.append(code)
        self._lines.append(line)
        self._chars.append(min(len(text), 2**32 - 1))
        self._roles.append(role)
        self._files.append(file)
        self._flags.append(flags)
        self.rows += 1
        if len(self._waiting) >= ROWS_A_BATCH or self._waiting_chars >= CHARS_A_BATCH:
            self._write()

    def _write(self) -> None:
        if self._waiting:
            self._writer.write_batch(datasets.to_batch(self._waiting))
            self._waiting, self._waiting_chars = [], 0

    def close(self) -> None:
        """Flushes the rows; from here on the arrays below can be used."""
        self._write()
        self._writer.close()
        self._file.close()
        self.ids = np.frombuffer(self._ids, dtype=np.uint64)
        self.groups = np.frombuffer(self._groups, dtype=np.uint64)
        self.keys = np.frombuffer(self._keys, dtype=np.uint64)
        self.strata_of = np.frombuffer(self._strata, dtype=np.int32).copy()
        self.lines = np.frombuffer(self._lines, dtype=np.uint32)
        self.chars = np.frombuffer(self._chars, dtype=np.uint32)
        self.roles = np.frombuffer(self._roles, dtype=np.uint8)
        self.files = np.frombuffer(self._files, dtype=np.uint16)
        self.flags = np.frombuffer(self._flags, dtype=np.uint8)

    def merge_strata(self, merged: dict[str, str]) -> None:
        """Renames labels (``merged``: old -> new) in the table of strata, and joins the strata that became equal."""
        codes: dict[str, int] = {}
        renamed = np.arange(len(self.strata), dtype=np.int32)
        for code, labels in enumerate(self.labels):
            new = tuple(dict.fromkeys(merged.get(label, label) for label in labels))
            stratum = merged.get(self.strata[code], self.strata[code]) if len(new) == 1 else "|".join(sorted(new))
            renamed[code] = codes.setdefault(stratum, code)
            self.strata[code], self.labels[code] = stratum, new
        self.strata_of = renamed[self.strata_of]

    def batches(self) -> Iterator[Any]:
        """The Arrow record batches, in order."""
        import pyarrow as pa

        with pa.OSFile(str(self.path), "rb") as source, pa.ipc.open_stream(source) as reader:
            yield from reader

    def label_counts(self, chosen: Any) -> dict[str, int]:
        """Rows of each label among the rows that ``chosen`` (a mask) selects, by falling count."""
        counts: dict[str, int] = {}
        for code, times in enumerate(np.bincount(self.strata_of[chosen], minlength=len(self.strata)).tolist()):
            if times:
                for label in self.labels[code]:
                    counts[label] = counts.get(label, 0) + times
        return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


ROLE = {split: number for number, split in enumerate(SPLITS)}
