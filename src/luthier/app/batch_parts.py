"""The answers of a batch on the disk: parts that are whole or not there, and the two files that are made of them in the end."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from luthier.app.batch_lines import Line
from luthier.store import files

LINES_A_PART = 64


class Answered(NamedTuple):
    """What came of a request: ``status`` as HTTP has it and the answer's JSON."""

    line: Line
    status: int
    body: dict[str, Any]


class Parts:
    """The parts of one batch, in a folder of its own."""

    def __init__(self, work: Path, batch: str) -> None:
        self.folder, self.batch = work / "batches" / batch, batch
        self._heads = [_head(path) for path in itertools.takewhile(Path.is_file, map(self._path, itertools.count()))]

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}.jsonl"

    def counts(self) -> dict[str, int]:
        """Requests that were answered rightly and otherwise, so far."""
        return {name: sum(head[name] for head in self._heads) for name in ("completed", "failed")}

    def add(self, answers: Sequence[Answered]) -> None:
        """Keeps the answers to the next requests."""
        good = sum(one.status < 300 for one in answers)
        rows = [{"good": one.status < 300, "row": self._row(one)} for one in answers]
        head = {"completed": good, "failed": len(answers) - good}
        files.write_bytes(self._path(len(self._heads)), b"".join([_bytes(head), *map(_bytes, rows)]))
        self._heads.append(head)

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
            yield _bytes(row)

    def _lines(self, *, good: bool) -> Iterator[bytes]:
        for path in map(self._path, range(len(self._heads))):
            with path.open(encoding="utf-8") as rows:
                next(rows)
                yield from (_bytes(one["row"]) for row in rows if (one := json.loads(row))["good"] is good)

    def remove(self) -> None:
        """Nothing of it is needed any more."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _head(path: Path) -> dict[str, int]:
    with path.open(encoding="utf-8") as rows:
        found: dict[str, int] = json.loads(next(rows))
    return found


def _bytes(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
