"""The loop: rows of a file, asked in batches, written in parts, with progress; where a run was broken the same call goes on."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from luthier.app.predicting.answering import Answering, Refused, inputs_of
from luthier.app.predicting.parts import Parts, check_output
from luthier.core.errors import InputError
from luthier.core.events import StageProgressed
from luthier.core.plan import DataPlan
from luthier.core.ports import BadRow, Emit, Row
from luthier.stages.prepare.columns import as_text, find_columns
from luthier.stages.prepare.reading import PEEKED, names_of
from luthier.stages.prepare.sources import Source, find_sources
from luthier.store.locks import locked
from luthier.store.parts import Record

BATCH = 256
"""Rows in one call."""

BATCHES_A_PART = 4
LINE = "input_line"
BEFORE = "predicted_"
HEAD_BYTES = 1 << 20
PROGRESS_S = 0.5


class Scoring:
    """A file, an endpoint and where the answers go."""

    def __init__(
        self,
        asked: Answering,
        source: Path,
        output: Path,
        *,
        columns: Mapping[str, str],
        batch: int = BATCH,
        emit: Emit,
        endpoint: str = "",
    ) -> None:
        check_output(output)
        self.asked, self.batch, self.emit, self.endpoint = asked, batch, emit, endpoint
        self.source = _source(source, [column.name for column in asked.task.columns])
        self.parts, self._map = Parts(output), dict(columns)
        self._started, self._said = time.monotonic(), 0.0

    def run(self) -> Record:
        """Scores what is not scored yet and writes the output; ``scored``, ``refused``, ``output``, ``refusals`` and ``seconds``."""
        self.parts.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.parts.folder.with_name(f"{self.parts.folder.name}.lock"), what=str(self.parts.output)):
            self.parts.begin(self._command())
            self._score()
            counts = self.parts.finish()
        self.parts.folder.with_name(f"{self.parts.folder.name}.lock").unlink(missing_ok=True)
        places = {"output": str(self.parts.output), "refusals": str(self.parts.refusals)}
        return counts | places | {"seconds": round(time.monotonic() - self._started, 2)}

    def _command(self) -> Record:
        """What parts must have in common. Of a large file its size, its date and its beginning stand for what is in it."""
        path, facts = self.source.path, self.source.path.stat()
        with path.open("rb") as handle:
            start = hashlib.sha256(handle.read(HEAD_BYTES)).hexdigest()
        content = f"{facts.st_size}:{facts.st_mtime_ns}:{start}"
        said = {"endpoint": self.endpoint, "export": self.asked.export, "input": self.source.title, "content": content}
        return said | {"map": self._map, "batch": self.batch}

    def _score(self) -> None:
        rows = self.source.rows()
        head = list(itertools.islice(rows, PEEKED))
        chosen = self._columns(head)
        every = itertools.chain(head, rows)
        done = self.parts.read()
        for _ in itertools.islice(every, done):
            pass
        asked = 0
        while found := list(itertools.islice(every, self.batch * BATCHES_A_PART)):
            self.parts.add(*self._part(found, chosen))
            asked += len(found)
            self._tell(found[-1], done, asked)

    def _columns(self, head: Sequence[Row | BadRow]) -> dict[str, str]:
        names = names_of(self.source, head, "is the file's name right?")
        twice = [name for name in names if name == LINE or name.startswith(BEFORE)]
        if twice:
            raise InputError(f"{self.source.title}: the column {twice[0]!r} has the name of one that is written", "rename it")
        return find_columns(self.source.title, names, inputs_of(self.asked.task), self._map, "").chosen

    def _part(self, found: Sequence[Row | BadRow], chosen: Mapping[str, str]) -> tuple[list[Record], list[Record]]:
        scored: list[Record] = []
        refused = [_refusal(one.line, Refused(one.field, one.reason, one.remedy)) for one in found if isinstance(one, BadRow)]
        rows = [one for one in found if isinstance(one, Row)]
        for start in range(0, len(rows), self.batch):
            some = rows[start : start + self.batch]
            cells = [{column: row.values.get(name) for column, name in chosen.items()} for row in some]
            for row, answer in zip(some, self.asked.ask(cells), strict=True):
                if isinstance(answer, Refused):
                    field = chosen.get(answer.field, answer.field)
                    refused.append(_refusal(row.line, answer._replace(field=field, reason=self.asked.masking.kept(answer.reason))))
                else:
                    scored.append(self._written(row, answer))
        return scored, sorted(refused, key=lambda one: int(one["line"]))

    def _written(self, row: Row, answer: Record) -> Record:
        columns = {name: self._masked(value) for name, value in row.values.items()}
        return {LINE: row.line, **columns, **{BEFORE + name: value for name, value in answer.items()}}

    def _masked(self, value: Any) -> Any:
        """A cell as it may be written down: its texts are masked, what JSON has no form for is text."""
        if isinstance(value, str):
            return self.asked.masking.kept(value)
        if isinstance(value, dict):
            return {str(name): self._masked(one) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [self._masked(one) for one in value]
        return value if value is None or isinstance(value, bool | int | float) else self.asked.masking.kept(as_text(value))

    def _tell(self, last: Row | BadRow, before: int, asked: int) -> None:
        now = time.monotonic()
        if not isinstance(last, Row) or now - self._said < PROGRESS_S:
            return
        self._said = now
        seconds, total, read = now - self._started, max(1, self.source.size_bytes), max(1, last.at_bytes)
        left = seconds * (total / read - 1) * (before + asked) / asked  # what an earlier run did took this one no time
        figures = {"rows": before + asked, "rows_per_s": asked / seconds}
        title, done, left = self.source.title, min(read, total), max(0.0, left)
        progressed = StageProgressed(
            stage="predict", phase=title, done=done, total=total, unit="bytes", left_s=left, figures=figures
        )
        self.emit(progressed)


def _source(path: Path, columns: Sequence[str]) -> Source:
    if not path.is_file():
        raise InputError(f"--input {str(path)!r}: there is no such file", "check the path")
    return find_sources(DataPlan(train=[str(path)]), columns)[0]


def _refusal(line: int, refused: Refused) -> Record:
    return {"line": line, "field": refused.field, "reason": refused.reason, "remedy": refused.remedy}
