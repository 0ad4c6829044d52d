"""The answering engine: encode | run | decode in three lanes, batches of whatever queued while the last batch ran.

On a CPU a batch of eight costs almost eight single answers, so waiting for a batch to fill only adds latency; what pays is never
to be idle, to keep padding small (a batch holds texts of like length) and to run one single-threaded inference a core.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from luthier.core import registry
from luthier.core.edits import Edit
from luthier.core.errors import Damaged, InputError, NotPossible
from luthier.core.hooks import as_written
from luthier.core.ports import Session, Task
from luthier.core.types import Arrays, Calibration, Example, Item, Prediction, Schema
from luthier.stages.carried import carry
from luthier.stages.serve.lanes import Closed, Lane
from luthier.stages.serve.masking import Masking
from luthier.stages.train.threads import cores
from luthier.store import files

LOG = logging.getLogger("luthier.serve")
QUEUE = 1024
"""Examples that may wait for an answer before new ones are refused."""

BATCH = 8
"""Most examples in a batch: beyond eight a CPU gains next to nothing, and the first of the batch waits for the last."""


class Answered(NamedTuple):
    """A prediction and what making it took: ``tokens`` of the input, examples in its ``batch``, milliseconds from call to answer."""

    prediction: Prediction
    tokens: int
    batch: int
    latency_ms: float


@dataclass(slots=True)
class Call:
    """One predict call: as many slots as it has examples; ``done`` is called once, when all are filled or one failed."""

    done: Callable[[list[Answered] | BaseException], None]
    slots: list[Answered | None]
    started: float
    left: int
    failed: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fill(self, slot: int, answered: Answered) -> None:
        """One answer is there."""
        with self.lock:
            self.slots[slot] = answered
            self.left -= 1
            ready = self.left == 0 and not self.failed
        if ready:
            self._tell([one for one in self.slots if one is not None])

    def fail(self, error: BaseException) -> None:
        """The call cannot be answered; one that was answered, or failed already, stays so."""
        with self.lock:
            first = self.left > 0 and not self.failed
            self.failed = self.failed or first
        if first:
            self._tell(error)

    def _tell(self, result: list[Answered] | BaseException) -> None:
        try:
            self.done(result)
        except Exception:
            LOG.exception("a caller could not take its answer; the other calls of its batch go on")


@dataclass(slots=True)
class Piece:
    """One example on its way through the lanes."""

    call: Call
    slot: int
    example: Example
    item: Item = field(default_factory=dict)
    length: int = 0
    edits: list[Edit] = field(default_factory=list)


class Batch(NamedTuple):
    """Pieces that ran together, and the graph's outputs."""

    pieces: list[Piece]
    outputs: Arrays


def alike(queue: deque[Piece]) -> list[Piece]:
    """The piece that waits longest and those nearest to it in length, at most ``BATCH``; the rest stay in order."""
    if len(queue) == 1:
        return [queue.popleft()]
    first = queue[0]
    ranked = sorted(queue, key=lambda piece: abs(piece.length - first.length))[:BATCH]
    taken = [piece for piece in ranked if abs(piece.length - first.length) <= 8 + first.length // 2]
    if len(taken) == len(queue):
        queue.clear()
    else:
        chosen = {id(piece) for piece in taken}
        rest = [piece for piece in queue if id(piece) not in chosen]
        queue.clear()
        queue.extend(rest)
    return taken


class Endpoint:
    """An opened export. ``predict`` answers in the order of the examples, each with the id of its content after masking (``Masking``).

    Close it when it is not needed any more.
    """

    def __init__(self, task: Task, schema: Schema, calibration: Calibration, processor: Any, session: Session, workers: int) -> None:
        self.task = task
        self.schema = schema
        self.calibration = calibration
        self.workers = workers
        self.facts: dict[str, Any] = {}
        self.folder = Path()
        self.masking = Masking({})
        self.watchers: list[Callable[[list[Answered], Arrays], None]] = []
        """Called by the decode lane with each batch's answers and graph outputs; must be quick."""
        self._processor = processor
        self._session = session
        self._embeddings: Endpoint | None = None
        self._opening = threading.Lock()
        self._decoding: Lane[Batch] = Lane("decode", self._decode, limit=4 * workers)
        self._running: Lane[Piece] = Lane("run", self._run, limit=QUEUE, threads=workers, choose=alike)
        self._encoding: Lane[Piece] = Lane("encode", self._encode, limit=QUEUE)

    @classmethod
    def open(cls, folder: Path, *, threads: int = 0) -> Endpoint:
        """Opens an exported folder. ``threads``: inferences at once, each single-threaded (0: one a core).

        Raises ``Damaged`` for a folder that is not whole, and ``NotPossible`` when its runtime is not installed.
        """
        # The tokenizer's own thread pool would fight with the workers for the cores.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        facts = files.read_json(folder / "export.json")
        for name in ("task", "runtime", "graph"):
            if name not in facts:
                raise Damaged(f"{folder / 'export.json'}: {name} is missing", "export the model again")
        task: Task = registry.get("tasks", facts["task"])
        runtime = registry.get("runtimes", facts["runtime"])
        if reason := runtime.missing():
            raise NotPossible(f"{folder}: needs the runtime {facts['runtime']}, which cannot be used here", reason)
        schema = files.read_json(folder / "schema.json")
        calibration = files.read_json(folder / "calibration.json") if (folder / "calibration.json").exists() else {}
        masking = Masking.of(folder)
        session = runtime.open(folder, facts["graph"], threads=1)
        endpoint = cls(task, schema, calibration, task.processor(folder, schema), session, threads or cores())
        endpoint.facts, endpoint.folder, endpoint.masking = facts, folder, masking
        return endpoint

    # -- asking ---------------------------------------------------------------------------------------------------

    def submit(self, examples: Sequence[Example], done: Callable[[list[Answered] | BaseException], None]) -> None:
        """Queues a call; ``done`` gets the answers or the error, from a lane's thread.

        Raises ``Overloaded`` at once when the queue is full, and ``Closed`` when the endpoint was replaced.
        """
        if len(examples) > QUEUE:
            raise InputError(f"{len(examples)} examples in one call; the most is {QUEUE}", "send them in several calls")
        if not examples:
            done([])
            return
        call = Call(done, [None] * len(examples), time.perf_counter(), len(examples))
        self._encoding.offer([Piece(call, slot, example) for slot, example in enumerate(examples)])

    async def predict(self, examples: Sequence[Example]) -> list[Answered]:
        """The answers, in order; the event loop goes on while the lanes work."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Answered]] = loop.create_future()

        def settle(result: list[Answered] | BaseException) -> None:
            if future.done():  # cancelled: nobody waits any more
                return
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)

        def tell(result: list[Answered] | BaseException) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(settle, result)

        self.submit(examples, tell)
        return await future

    def predict_now(self, examples: Sequence[Example]) -> list[Answered]:
        """The same, for callers without an event loop."""
        future: Future[list[Answered]] = Future()

        def settle(result: list[Answered] | BaseException) -> None:
            if future.done():
                return
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)

        self.submit(examples, settle)
        return future.result()

    @property
    def waiting(self) -> int:
        """Examples that are queued."""
        return len(self._encoding) + len(self._running)

    def close(self) -> None:
        """Answers what is queued, then ends; calls that come later raise ``Closed``."""
        for lane in (self._encoding, self._running, self._decoding):
            lane.close()
        with self._opening:
            beside = self._embeddings
        if beside is not None and beside is not self:
            beside.close()

    def embeddings(self) -> Endpoint:
        """An endpoint whose answers are this model's vectors (``encoder``): it shares the opened graph, and is closed with this one."""
        from luthier.stages.serve import encoder

        with self._opening:
            if self._embeddings is None:
                if self._encoding.closed:
                    raise Closed("this endpoint was replaced by another export", "ask again")
                self._embeddings = encoder.beside(self, self._processor, self._session)
            return self._embeddings

    # -- lanes ----------------------------------------------------------------------------------------------------

    def _encode(self, pieces: list[Piece]) -> None:
        try:
            for piece in pieces:
                piece.example, piece.edits = self.masking.example(self.task, piece.example)
            items = self.task.encode([piece.example for piece in pieces], self._processor, self.schema)
        except Exception as error:  # noqa: BLE001 - one bad example must fail its own call only
            self._encode_alone(pieces, error)
            return
        for piece, item in zip(pieces, items, strict=True):
            piece.item, piece.length = item, self.task.length(item)
        self._running.push(pieces)

    def _encode_alone(self, pieces: list[Piece], error: Exception) -> None:
        if len(pieces) == 1:
            pieces[0].call.fail(error)
            return
        for piece in pieces:
            self._encode([piece])

    def _run(self, pieces: list[Piece]) -> None:
        try:
            items = [piece.item for piece in pieces]
            outputs = carry(self.task, items, self._session.run(self.task.collate(items)))
        except Exception as error:  # noqa: BLE001 - the lane must live on
            for piece in pieces:
                piece.call.fail(error)
            return
        self._decoding.push([Batch(pieces, outputs)])

    def _decode(self, batches: list[Batch]) -> None:
        for pieces, outputs in batches:
            try:
                self._answer(pieces, outputs)
            except Exception as error:  # noqa: BLE001 - the lane must live on
                for piece in pieces:
                    piece.call.fail(error)

    def _answer(self, pieces: list[Piece], outputs: Arrays) -> None:
        predictions = self.task.decode([piece.example.id for piece in pieces], outputs, self.schema, self.calibration)
        now = time.perf_counter()
        answers = [
            Answered(as_written(self.task, prediction, piece.edits), piece.length, len(pieces), (now - piece.call.started) * 1e3)
            for piece, prediction in zip(pieces, predictions, strict=True)
        ]
        for piece, answered in zip(pieces, answers, strict=True):
            piece.call.fill(piece.slot, answered)
        for watcher in self.watchers:
            try:
                watcher(answers, outputs)
            except Exception:
                LOG.exception("a watcher of %s failed; the answers were given", self.folder)


__all__ = ["Answered", "Closed", "Endpoint", "cores"]
