"""The answers of a batch on the disk: parts that are whole or not there, and the two files that are made of them in the end."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from luthier.app.batch_lines import Line
from luthier.store.parts import PartFiles, as_line

LINES_A_PART = 64


class Answered(NamedTuple):
    """What came of a request: ``status`` as HTTP has it and the answer's JSON."""

    line: Line
    status: int
    body: dict[str, Any]


class Parts:
    """The parts of one batch, in a folder of its own."""

    def __init__(self, work: Path, batch: str) -> None:
        self.batch = batch
        self._parts = PartFiles(work / "batches" / batch)

    def counts(self) -> dict[str, int]:
        """Requests that were answered rightly and otherwise, so far."""
        return {name: self._parts.total(name) for name in ("completed", "failed")}

    def add(self, answers: Sequence[Answered]) -> None:
        """Keeps the answers to the next requests."""
        good = sum(one.status < 300 for one in answers)
        rows = [{"good": one.status < 300, "row": self._row(one)} for one in answers]
        self._parts.add({"completed": good, "failed": len(answers) - good}, rows)

    def _row(self, one: Answered) -> dict[str, Any]:
        response = {"status_code": one.status, "request_id": self._name("req", one.line.number), "body": one.body}
        return {"id": self._name("batch_req", one.line.number), "custom_id": one.line.custom_id, "response": response, "error": None}

    def _name(self, kind: str, number: int) -> str:
        return f"{kind}_{hashlib.sha256(f'{self.batch}/{number}'.encode()).hexdigest()[:24]}"

    def output(self) -> Iterator[bytes]:
        """The lines of the output file."""
        return self._lines(good=True)

    def problems(self, unasked: Iterable[Line] = (), code: str = "", message: str = "") -> Iterator[bytes]:
        """The lines of the error file: requests that were refused, then those that were never made, with the reason."""
        yield from self._lines(good=False)
        for line in unasked:
            error = {"code": code, "message": message}
            row = {"id": self._name("batch_req", line.number), "custom_id": line.custom_id, "response": None, "error": error}
            yield as_line(row)

    def _lines(self, *, good: bool) -> Iterator[bytes]:
        return (as_line(one["row"]) for one in self._parts.rows() if one["good"] is good)

    def remove(self) -> None:
        """Nothing of it is needed any more."""
        shutil.rmtree(self._parts.folder, ignore_errors=True)
