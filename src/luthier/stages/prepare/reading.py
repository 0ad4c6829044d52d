"""Reads every source row by row: maps its columns, checks and masks each row, and makes the task's example or a refusal of it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from luthier.core.errors import InputError, RowError
from luthier.core.events import StageProgressed
from luthier.core.hooks import edited, maskable
from luthier.core.plan import Plan
from luthier.core.ports import BadRow, Emit, Row, Task
from luthier.core.types import Example, Place, Refusal
from luthier.stages.prepare.columns import Found, as_text, find_columns
from luthier.stages.prepare.masking import Masker
from luthier.stages.prepare.sources import SAY_FORMAT, Source

PEEKED = 50
"""Rows looked at to learn a file's columns (JSONL rows need not have all of them)."""

_PROGRESS_S = 0.5


class Read(NamedTuple):
    """One row that became an example; ``key`` is the value of the file's own ``id`` column ("" when there is none)."""

    example: Example
    line: int
    key: str


@dataclass
class FileFacts:
    """What was found in one source, for the report."""

    title: str
    role: str
    format: str
    encoding: str
    columns: dict[str, str]
    rows: int = 0
    refused: int = 0
    cut: bool = False
    """Whether ``data.rows`` left rows of it unread."""


def names_of(source: Source, head: Sequence[Row | BadRow], remedy: str) -> list[str]:
    """The names of columns that stand in the source's first rows; raises ``InputError`` with ``remedy`` where none can be read."""
    names = list(dict.fromkeys(name for row in head if isinstance(row, Row) for name in row.values))
    if not names:
        reason = next((f"line {row.line}: {row.reason}" for row in head if isinstance(row, BadRow)), "there are no rows")
        raise InputError(f"{source.title}: no row can be read as {source.format} ({reason})", remedy)
    return names


class Reader:
    """Reads the sources of a plan. ``facts`` has one entry a source that was begun; ``refuse`` is called for every refused row."""

    def __init__(self, plan: Plan, task: Task, masker: Masker, refuse: Callable[[Refusal], None], emit: Emit) -> None:
        self.plan = plan
        self.task = task
        self.masker = masker
        self.refuse = refuse
        self.emit = emit
        self.facts: list[FileFacts] = []

    def read(self, source: Source) -> Iterator[Read]:
        """The source's examples, masked."""
        every, most = source.rows(), self.plan.data.rows
        rows = itertools.islice(every, most) if most else every
        head = list(itertools.islice(rows, PEEKED))
        names = names_of(source, head, f"is this the right format? {SAY_FORMAT}")
        found = find_columns(source.title, names, self.task.columns, self.plan.data.map, self.plan.data.group)
        facts = FileFacts(source.title, source.role, source.format, source.encoding, found.chosen)
        self.facts.append(facts)
        key = next((name for name in names if name.casefold() == "id" and name not in found.chosen.values()), "")
        said = start = time.monotonic()
        for row in itertools.chain(head, rows):
            facts.rows += 1
            if facts.rows % 256 == 0 and time.monotonic() - said > _PROGRESS_S:
                said = time.monotonic()
                self._progress(source, row.at_bytes if isinstance(row, Row) else 0, said - start, facts.rows)
            try:
                if isinstance(row, BadRow):
                    raise RowError(row.field, row.reason, row.remedy)
                yield Read(self._example(row, source.title, found), row.line, as_text(row.values.get(key)) if key else "")
            except RowError as error:
                facts.refused += 1
                self.refuse(Refusal(source.title, row.line, error.field, error.reason, error.remedy))
        facts.cut = bool(most) and next(every, None) is not None

    def _progress(self, source: Source, done: int, seconds: float, rows: int) -> None:
        total = source.size_bytes or self.plan.data.rows or 2400
        left = seconds * (total - done) / done if done else None
        unit = "rows" if source.made else "bytes"
        self.emit(
            StageProgressed(
                stage="prepare",
                phase=f"reading {source.title}",
                done=done,
                total=total,
                unit=unit,
                left_s=left,
                figures={"rows": rows, "rows_per_s": rows / seconds},
            )
        )

    def _example(self, row: Row, title: str, found: Found) -> Example:
        self._check_cells(row)
        values, masker = row.values, self.masker
        cells: dict[str, Any] = {task_column: values.get(file_column) for task_column, file_column in found.chosen.items()}
        group = as_text(values.get(found.group)).strip() if found.group else ""
        used = set(found.chosen.values())
        for name, value in values.items():
            if name not in used:
                text = as_text(value)
                # A column that has the name of a task column but is mapped to nothing keeps its values under another name.
                cells[f"{name} (file)" if name in found.chosen else name] = masker.mask(text, group) if text else text
        example = self.task.example(cells, Place(title, row.line))
        if edits := masker.edits(maskable(self.task, example), group):
            example = edited(self.task, example, edits)
        return replace(example, group=masker.group(group)) if group else example

    def _check_cells(self, row: Row) -> None:
        most = self.plan.prepare.max_cell_bytes
        for name, value in row.values.items():
            if isinstance(value, str | bytes) and len(value) * 4 > most:
                size = len(value.encode("utf-8", "replace") if isinstance(value, str) else value)
                if size > most:
                    raise RowError(name, f"holds {size:,} bytes, the most is {most:,}", "shorten it, or raise prepare.max_cell_bytes")
