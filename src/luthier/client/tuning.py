"""Fine-tuning: files that come and go as streams, and jobs that are created, watched, paused, resumed and cancelled."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from luthier.client.connection import OPENAI, Connection, part
from luthier.client.multipart import Multipart, size_of
from luthier.client.records import Paged, Record
from luthier.core.errors import JobFailed, LuthierError
from luthier.core.tuning import FINAL

POLL_S = 1.0
LARGEST_BYTES = 512 * 1024**2
"""Larger files are sent in parts."""

PART_BYTES = 64_000_000
CHECKED = ("processed", "error", "deleted")


class Jobs(Paged):
    """Fine-tuning jobs, as OpenAI's objects."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, f"{OPENAI}/fine_tuning/jobs")

    def create(self, body: Record) -> Record:
        """Creates a job from the body of ``POST /fine_tuning/jobs``; a repetition on a bad line makes no second one."""
        found: Record = self._connection.post(self._path, body, {"Idempotency-Key": secrets.token_hex(16)})
        return found

    def list(self, limit: int = 20, after: str = "", metadata: dict[str, str] | None = None, **filters: Any) -> Record:
        """A page of jobs, newest first, with all of ``metadata``."""
        return super().list(limit, after, **filters, **{f"metadata[{key}]": value for key, value in (metadata or {}).items()})

    def _do(self, job: str, verb: str) -> Record:
        found: Record = self._connection.post(f"{self._path}/{part(job)}/{verb}")
        return found

    def cancel(self, job: str) -> Record:
        """Ends the job within a step; what it reached stays as a checkpoint."""
        return self._do(job, "cancel")

    def pause(self, job: str) -> Record:
        """Halts the job after its present step."""
        return self._do(job, "pause")

    def resume(self, job: str) -> Record:
        """Lets a paused job go on."""
        return self._do(job, "resume")

    def delete(self, job: str) -> None:
        """Takes a finished job out of the lists."""
        self._connection.delete(f"{self._path}/{part(job)}")

    def events(self, job: str, limit: int = 20, after: str = "") -> Record:
        """A page of what the job said, newest first."""
        found: Record = self._connection.get(f"{self._path}/{part(job)}/events", limit=limit, after=after)
        return found

    def checkpoints(self, job: str, limit: int = 10, after: str = "") -> Record:
        """A page of the job's checkpoints, newest first."""
        found: Record = self._connection.get(f"{self._path}/{part(job)}/checkpoints", limit=limit, after=after)
        return found

    def follow(self, job: str, *, every_s: float = POLL_S) -> Iterator[Record]:
        """The job's events from its first, oldest first, as they come; ends with the job."""
        return follow(self, job, every_s=every_s)


class Followed(Protocol):
    """Jobs here or far away."""

    def get(self, job: str) -> Record:
        """The job."""

    def events(self, job: str, limit: int = 20, after: str = "") -> Record:
        """A page of its events, newest first."""


def follow(jobs: Followed, job: str, *, every_s: float = POLL_S, sleep: Callable[[float], None] = time.sleep) -> Iterator[Record]:
    """Every event of a job, oldest first, until the job ended (or was paused) and has no more to say."""
    seen = ""
    while True:
        # The state is read before the events: what is said at the very end is not missed.
        status = jobs.get(job)["status"]
        fresh = _newer(jobs, job, seen)
        yield from fresh
        seen = fresh[-1]["id"] if fresh else seen
        if status in (*FINAL, "paused"):
            return
        sleep(every_s)


def _newer(jobs: Followed, job: str, seen: str) -> list[Record]:
    """The events that came after ``seen``, oldest first."""
    found: list[Record] = []
    after = ""
    while True:
        page = jobs.events(job, 100, after)
        for event in page["data"]:
            if event["id"] == seen:
                return found[::-1]
            found.append(event)
        if not (page["has_more"] and page["data"]):
            return found[::-1]
        after = page["last_id"]


class Files(Paged):
    """Uploaded files, as OpenAI's objects."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, f"{OPENAI}/files", largest=1000)

    def upload(self, path: str | Path, purpose: str = "fine-tune", *, expires_after_s: int = 0) -> Record:
        """Sends a file as a stream: it is never whole in memory. Its rows are checked by the server (``check`` waits for that)."""
        expiry = {"anchor": "created_at", "seconds": expires_after_s} if expires_after_s else {}
        if size_of(Path(path)) > LARGEST_BYTES:
            return self._in_parts(Path(path), purpose, expiry)
        fields = {"purpose": purpose} | {f"expires_after[{name}]": str(value) for name, value in expiry.items()}
        found: Record = self._connection.upload(self._path, Multipart(fields, "file", Path(path)))
        return found

    def _in_parts(self, path: Path, purpose: str, expiry: Record) -> Record:
        size = size_of(path)
        wanted = {"bytes": size, "filename": path.name, "mime_type": "application/octet-stream", "purpose": purpose}
        made = self._connection.post(f"{OPENAI}/uploads", wanted | ({"expires_after": expiry} if expiry else {}))
        address = f"{OPENAI}/uploads/{part(made['id'])}"
        try:
            parts = []
            for start in range(0, size, PART_BYTES):
                # A part that arrived twice is only there twice: the list at the end names each once.
                again = {"Idempotency-Key": secrets.token_hex(16)}
                body = Multipart({}, "data", path, "part", start, PART_BYTES)
                parts.append(self._connection.upload(f"{address}/parts", body, again)["id"])
            found: Record = self._connection.post(f"{address}/complete", {"part_ids": parts})["file"]
        except BaseException:
            with contextlib.suppress(LuthierError):
                self._connection.post(f"{address}/cancel")
            raise
        return found

    def content(self, file: str, path: str | Path) -> Path:
        """Writes what the file holds to ``path``: whole, or not at all."""
        return self._connection.save(f"{self._path}/{part(file)}/content", Path(path))

    def check(self, file: str, *, most_s: float = 1800.0) -> Record:
        """The file once the server has checked it: ``status`` is ``processed``, or ``error`` with the rows in ``status_details``."""
        end = time.monotonic() + most_s
        while (found := self.get(file))["status"] not in CHECKED:
            if time.monotonic() > end:
                raise JobFailed(f"{file} is {found['status']} for {most_s:.0f} s", "ask again later")
            self._connection.sleep(POLL_S)
        return found

    def delete(self, file: str) -> Record:
        """Removes the file; raises ``Conflict`` while a job uses it."""
        found: Record = self._connection.delete(f"{self._path}/{part(file)}")
        return found
