"""Works batches off beside the requests of a server: each line is a request like any other, asked in this process, some at a time.

A batch is a leased row (``app.batches``). A server that is killed leaves its lease to the next one that looks; answers that were kept
are not asked for again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from sqlalchemy import Connection
from starlette.responses import Response

from luthier.api import errors
from luthier.api.access import Caller
from luthier.api.chat.bodies import ChatRequest, CompletionRequest, Known
from luthier.api.routes import chat, completions, embeddings
from luthier.app.batch_lines import Checked, Line, check, lines
from luthier.app.batch_parts import LINES_A_PART, Answered, Parts
from luthier.app.batches import Batches
from luthier.app.tuning_results import file_id
from luthier.core.batch import FINAL, State
from luthier.core.errors import LuthierError, UnknownName

LOG = logging.getLogger("luthier.batches")
LOOK_S = 0.5
BEAT_S = 3.0
REST_S = 5.0
"""How long a batch rests whose file is not checked yet, or that met a defect."""

AT_ONCE = 2
"""Batches that one server works on."""

IN_FLIGHT = 16
"""Lines of a batch that are asked at a time: enough to keep the cores busy, few enough that other callers hardly wait."""

LONGEST_REST_S = 5.0
EXPIRED = ("batch_expired", "This request could not be executed before the completion window expired.")
CANCELLED = ("batch_cancelled", "This request was not executed: the batch was cancelled.")

Reply = Callable[[Caller, str, Any], Awaitable[Response]]
CALLS: dict[str, tuple[type[Known], Reply]] = {
    "/v1/chat/completions": (ChatRequest, chat.reply),
    "/v1/completions": (CompletionRequest, completions.reply),
    "/v1/embeddings": (embeddings.EmbeddingRequest, embeddings.reply),
}


class Ended(Exception):
    """The batch is not to be gone on with: it was cancelled, its time is over, or it is another server's now."""


class Batching:
    """The batches of one server, of every workspace."""

    def __init__(self, app: FastAPI, rows: Batches) -> None:
        self.app, self.rows = app, rows
        self._active: dict[str, str] = {}

    async def run(self) -> None:
        """Takes batches until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    if len(self._active) < AT_ONCE:
                        taken = await asyncio.to_thread(self.rows.claim_next, set(self._active.values()), set(self._active))
                        if taken is not None:
                            row, token = taken
                            self._active[row["id"]] = row["workspace"]
                            tasks.create_task(self._work(row, token))
                            continue
                except Exception:
                    LOG.exception("batches could not be looked for; it is tried again")
                await asyncio.sleep(LOOK_S)

    async def _work(self, row: dict[str, Any], token: str) -> None:
        one = Batch(self.app, self.rows, row, token)
        beat = asyncio.create_task(one.beat())
        rest = 0.0
        try:
            rest = await one.run()
        except Ended:
            pass
        except Exception:
            LOG.exception("batch %s met a defect; it is tried again", row["id"])
            rest = REST_S
        finally:
            beat.cancel()
            self._active.pop(row["id"], None)
            with contextlib.suppress(Exception):  # the database is away: the lease runs out
                await asyncio.shield(asyncio.to_thread(self.rows.release, row["id"], token, rest))


class Batch:
    """One claimed batch."""

    def __init__(self, app: FastAPI, rows: Batches, row: dict[str, Any], token: str) -> None:
        self.rows, self.row, self.token, self.id = rows, row, token, str(row["id"])
        self.service = app.state.tenants.service(row["workspace"])
        self.parts = Parts(self.service.workspace.work, self.id)
        request = Request({"type": "http", "method": "POST", "path": row["endpoint"], "headers": [], "app": app})
        self.caller = Caller("", row["workspace"], frozenset({"infer"}), request)
        self.state: State | None = row["state"]

    async def beat(self) -> None:
        """Keeps the lease, and hears of a cancel."""
        while True:
            await asyncio.sleep(BEAT_S)
            with contextlib.suppress(Exception):
                self.state = await asyncio.to_thread(self.rows.beat, self.id, self.token)

    async def run(self) -> float:
        """Does what is left to do; how many seconds to rest before the next try (0.0: none is needed)."""
        if self.state == "validating" and not await asyncio.to_thread(self._begun):
            return REST_S
        if self.state == "in_progress":
            await asyncio.to_thread(self.service.files.get, self.row["input_file"])
            await asyncio.to_thread(lambda: self.caller.host)  # opens the workspace's endpoints, which takes seconds
            await self._ask()
        await asyncio.to_thread(self._finish)
        return 0.0

    # -- validating -------------------------------------------------------------------------------------------------

    def _begun(self) -> bool:
        """Whether its file could be looked at; the batch is in progress then, or has failed."""
        try:
            info = self.service.files.get(self.row["input_file"])
        except UnknownName as error:
            return self._failed([{"code": "file_not_found", "line": None, "message": error.message, "param": "input_file_id"}])
        if info.status == "uploaded":
            return False  # a worker is checking it
        if info.status == "error":
            said = {"code": "invalid_file", "line": None, "message": info.status_details, "param": "input_file_id"}
            return self._failed([said])
        found: Checked = check(self.service.files.path(info.id), self.row["endpoint"])
        if found.faults:
            return self._failed(found.faults)
        self._move("in_progress", counts={"total": found.total})
        self.row["counts"] = {"total": found.total}
        return True

    def _failed(self, faults: list[dict[str, Any]]) -> bool:
        self._move("failed", errors=faults)
        return True

    def _move(self, new: State, **values: Any) -> None:
        def tell(connection: Connection) -> None:
            if new in FINAL:
                self.service.webhooks.notify(f"batch.{new}", {"id": self.id}, connection)

        if not self.rows.move(self.id, self.token, new, tell, **values):
            self.state = self.rows.beat(self.id, self.token)
            if self.state == "cancelling" and new in ("in_progress", "finalizing"):
                return
            raise Ended
        self.state = new

    # -- in progress ------------------------------------------------------------------------------------------------

    def _left(self) -> Iterator[Line]:
        """The requests that were not answered yet."""
        counts = self.parts.counts()
        every = lines(self.service.files.path(self.row["input_file"]), self.row["endpoint"])
        return itertools.islice(every, sum(counts.values()), None)

    async def _ask(self) -> None:
        left, room = await asyncio.to_thread(self._left), asyncio.Semaphore(IN_FLIGHT)
        while some := await asyncio.to_thread(lambda: list(itertools.islice(left, LINES_A_PART))):
            answers = await self._answers(some, room)
            if answers is None:
                return
            await asyncio.to_thread(self._keep, answers)
        await asyncio.to_thread(self._move, "finalizing")

    async def _answers(self, some: list[Line], room: asyncio.Semaphore) -> list[Answered] | None:
        """None when the batch is over before they are all there: those that are, are kept as long as they are the next ones."""
        asked = [asyncio.create_task(self._answered(line, room)) for line in some]
        try:
            while not all(task.done() for task in asked):
                await asyncio.wait(asked, timeout=0.5)
                if self._over():
                    first = itertools.takewhile(lambda task: task.done() and task.exception() is None, asked)
                    done = [task.result() for task in first]
                    if done and self.state is not None:
                        await asyncio.to_thread(self._keep, done)
                    return None
            return [task.result() for task in asked]
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    def _over(self) -> bool:
        return self.state != "in_progress" or time.time() >= self.row["expires_at"]

    def _keep(self, answers: list[Answered]) -> None:
        self.parts.add(answers)
        if not self.rows.change(self.id, self.token, counts=self.row["counts"] | self.parts.counts()):
            self.state = None

    async def _answered(self, line: Line, room: asyncio.Semaphore) -> Answered:
        """The answer, waited for as long as there is none because the model is busy or being made ready."""
        async with room:
            while True:
                answer = await self._reply(line)
                if answer.status_code != 503 or not answer.headers.get("retry-after"):
                    return Answered(line, answer.status_code, json.loads(bytes(answer.body)))
                await asyncio.sleep(min(LONGEST_REST_S, float(answer.headers["retry-after"])))

    async def _reply(self, line: Line) -> Response:
        form, reply = CALLS[self.row["endpoint"]]
        try:
            body: Any = form.model_validate(line.body)
            return await reply(self.caller, body.model, body)
        except ValidationError as error:
            return errors.response(RequestValidationError(error.errors()))
        except Exception as error:
            if not isinstance(error, LuthierError):
                LOG.exception("batch %s, line %s", self.id, line.number)
            return errors.response(error)

    # -- the end ----------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Makes the files of what there is, and ends the batch as it ended."""
        if self.state is None or self.state in FINAL:
            self.parts.remove() if self.state in FINAL else None
            return
        over = self.state == "in_progress"
        ends: dict[bool, State] = {True: "expired", False: "completed" if self.state == "finalizing" else "cancelled"}
        reason = EXPIRED if over else CANCELLED
        began = bool(self.row["counts"])
        unasked = self._left() if began and self.state != "finalizing" else iter(())
        made = {"output_file": self._file("output", self.parts.output())}
        made["error_file"] = self._file("errors", self.parts.problems(unasked, *reason))
        self._move(ends[over], counts=self.row["counts"] | (self.parts.counts() if began else {}), **made)
        self.parts.remove()

    def _file(self, kind: str, rows: Iterator[bytes]) -> str:
        """The file's id; "" where it would be empty."""
        first = next(rows, None)
        if first is None:
            return ""
        expiry = self.row["request"].get("output_expires_after")
        made = self.service.files.put(
            file_id(self.id, kind), f"{self.id}_{kind}.jsonl", "batch_output", itertools.chain([first], rows), expiry
        )
        return str(made.id)
