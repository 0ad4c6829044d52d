"""Holds the open endpoints, notices new deployments, and swaps them without dropping a request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from luthier.core.errors import InputError, LuthierError, UnknownName
from luthier.core.events import Event, PredictionAnswered, PredictionFailed
from luthier.core.types import Example
from luthier.stages.serve import encoder
from luthier.stages.serve.engine import Answered, Closed, Endpoint
from luthier.stages.serve.on_demand import MOST, Held, OnDemand
from luthier.stages.serve.recorder import Appends, Recorder
from luthier.stages.serve.reservoir import Reservoir, sample_path
from luthier.stages.serve.writing import Said, Wish, WritingEndpoint, open_export

LOG = logging.getLogger("luthier.serve")
LOOK_EVERY_S = 1.0


class Deployed(Protocol):
    """An endpoint and the export that it should answer with."""

    @property
    def name(self) -> str:
        """The endpoint's name."""

    @property
    def task(self) -> str:
        """The registered task."""

    @property
    def export_id(self) -> str:
        """The export's id: another one means another deployment."""

    @property
    def model_id(self) -> str:
        """The model's id."""

    @property
    def folder(self) -> Path:
        """The exported folder."""


class Deployments(Protocol):
    """What should be served."""

    def list(self) -> Sequence[Any]:
        """Every endpoint (each a ``Deployed``)."""


class Hosted:
    """One endpoint as it is served now."""

    def __init__(self, info: Any, endpoint: Endpoint | WritingEndpoint, reservoir: Reservoir | None) -> None:
        self.info: Deployed = info
        self.endpoint = endpoint
        if reservoir:
            endpoint.watchers.append(reservoir.add)


class Host:
    """Endpoints by name, and other models while they are asked for (``on_demand`` of them at most).

    With ``keep_text`` the journal keeps the texts too, masked by the patterns of each export's own plan.
    """

    def __init__(
        self,
        deployments: Deployments,
        journal: Appends,
        *,
        workers: int = 0,
        samples: Path | None = None,
        keep_text: bool = False,
        on_demand: int = MOST,
    ) -> None:
        self.deployments = deployments
        self.journal = journal
        self.workers = workers
        self.samples = samples
        self.keep_text = keep_text
        self.listeners: list[Callable[[Hosted, list[Answered]], None]] = []
        self._open: dict[str, Hosted] = {}
        self._problems: dict[str, str] = {}
        self._reservoirs: dict[str, Reservoir] = {}
        self._on_demand = OnDemand(self._opened, on_demand)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._recorder = Recorder(journal, also=self._write_samples)
        self.refresh()
        self._looker = threading.Thread(target=self._look, name="deployments", daemon=True)
        self._looker.start()

    # -- deployments ----------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Opens what is new or changed, then swaps, then closes what it replaced once that has answered its calls."""
        with self._lock:
            wanted = {info.name: info for info in self.deployments.list()}
            for name, info in wanted.items():
                old = self._open.get(name)
                if old is None or old.info.export_id != info.export_id:
                    self._swap(name, info, old)
                else:  # also after a deployment that could not be opened was taken back
                    self._problems.pop(name, None)
            for name in set(self._open) - set(wanted):
                self._open.pop(name).endpoint.close()
            for name in set(self._problems) - set(wanted):
                self._problems.pop(name)

    def _swap(self, name: str, info: Any, old: Hosted | None) -> None:
        try:
            endpoint = open_export(Path(info.folder), threads=self.workers)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one export, the other endpoints must be served
            self._problem(name, error)
            return
        self._open[name] = Hosted(info, endpoint, self._reservoir(name, info.export_id))
        self._problems.pop(name, None)
        if old is not None:
            old.endpoint.close()

    def _problem(self, name: str, error: Exception) -> None:
        said = str(error) if isinstance(error, LuthierError | OSError) else f"{type(error).__name__}: {error}"
        if self._problems.get(name) != said:  # it is tried again every second, and said once
            LOG.warning("endpoint %s cannot be opened: %s", name, said, exc_info=None if isinstance(error, LuthierError) else error)
        self._problems[name] = said

    def _reservoir(self, name: str, export_id: str) -> Reservoir | None:
        if self.samples is None:
            return None
        # A new deployment starts a new sample: another model's embeddings cannot be compared with this one's reference.
        self._reservoirs[name] = Reservoir(sample_path(self.samples, name), export_id)
        return self._reservoirs[name]

    def _look(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            try:
                self.refresh()
            except Exception:
                LOG.exception("the deployments could not be read; the present ones go on")

    def _write_samples(self) -> None:
        for reservoir in list(self._reservoirs.values()):
            reservoir.write()

    def get(self, name: str) -> Hosted:
        """The endpoint as it is served now; raises ``UnknownName``."""
        found = self._open.get(name)
        if found is None:
            problems = self.problems
            if name in problems:
                raise UnknownName(f"endpoint {name!r} cannot be served: {problems[name]}", "deploy an export that is whole")
            raise UnknownName.among("endpoint", name, self._open.copy())
        return found

    def serves(self, name: str) -> bool:
        """Whether it is an endpoint, open or one that cannot be opened."""
        return name in self._open or name in self._problems

    def all(self) -> list[Hosted]:
        """Every endpoint by name."""
        return [hosted for _, hosted in sorted(self._open.copy().items())]  # a copy: the looker may swap meanwhile

    @property
    def problems(self) -> dict[str, str]:
        """Endpoint -> why its newest deployment could not be opened (the one before it goes on answering)."""
        return self._problems.copy()

    @property
    def ready(self) -> bool:
        """Whether everything that is deployed is open."""
        return not self._problems

    @property
    def dropped(self) -> int:
        """Journal events that could not be kept."""
        return self._recorder.dropped

    # -- answering ------------------------------------------------------------------------------------------------

    async def predict(self, name: str, examples: Sequence[Example]) -> list[Answered]:
        """Answers and journals; a call that meets a swap goes to the successor."""
        while True:
            hosted = self.get(name)
            try:
                answers = await hosted.endpoint.predict(examples)
            except Closed:
                if self._open.get(name) is hosted:
                    raise
                continue
            except Exception as error:
                self.failed(name, error)
                raise
            self._note(hosted, examples, answers)
            return answers

    async def predict_with(self, info: Deployed, examples: Sequence[Example]) -> list[Answered]:
        """The same by a model that is no endpoint: opened when it is not yet, without stopping the event loop."""
        async with self._holding(info) as hosted:
            try:
                answers = await hosted.endpoint.predict(examples)
            except Exception as error:
                self.failed(info.name, error)
                raise
            self._note(hosted, examples, answers)
            return answers

    async def stream(self, name: str, example: Example, wish: Wish) -> AsyncIterator[Said]:
        """What an endpoint's model writes, piece by piece; journaled when it is whole."""
        hosted = self.get(name)
        async for said in self._streamed(hosted, example, wish):
            yield said

    async def stream_with(self, info: Deployed, example: Example, wish: Wish) -> AsyncIterator[Said]:
        """The same by a model that is no endpoint."""
        async with self._holding(info) as hosted:
            async for said in self._streamed(hosted, example, wish):
                yield said

    async def _streamed(self, hosted: Hosted, example: Example, wish: Wish) -> AsyncIterator[Said]:
        if not isinstance(hosted.endpoint, WritingEndpoint):
            raise InputError(f"model: {hosted.info.name!r} does not write", "ask a model of the task chat or summarization")
        try:
            async for said in hosted.endpoint.stream(example, wish):
                if said.answered is not None:
                    self._note(hosted, [example], [said.answered])
                yield said
        except Exception as error:
            self.failed(hosted.info.name, error)
            raise

    async def embed(self, name: str, examples: Sequence[Example]) -> list[Answered]:
        """Vectors (``encoder``) by an endpoint's model. Nothing is journaled: a vector is no answer that anybody judges."""
        while True:
            hosted = self.get(name)
            try:
                return await hosted.endpoint.embeddings().predict(examples)
            except Closed:
                if self._open.get(name) is hosted:
                    raise

    async def embed_with(self, info: Deployed, examples: Sequence[Example]) -> list[Answered]:
        """Vectors by a model that is no endpoint, or by a base encoder."""
        async with self._holding(info) as hosted:
            return await hosted.endpoint.embeddings().predict(examples)

    def find(self, info: Deployed) -> Hosted:
        """A model that is no endpoint, open: blocks while it is opened. It may be closed for another one any time after this."""
        with self._on_demand.holding(info) as hosted:
            return hosted

    async def opened(self, info: Deployed) -> Hosted:
        """``find`` without stopping the event loop."""
        async with self._holding(info) as hosted:
            return hosted

    @contextlib.asynccontextmanager
    async def _holding(self, info: Deployed) -> AsyncIterator[Hosted]:
        held = self._on_demand.hold_open(info.name, info.export_id) or await self._held(info)
        try:
            assert held.hosted is not None
            yield held.hosted
        finally:
            self._on_demand.release(held)

    async def _held(self, info: Deployed) -> Held:
        opening = asyncio.ensure_future(asyncio.to_thread(self._on_demand.hold, info))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:  # the caller left; the thread goes on, and what it holds must be let go
            opening.add_done_callback(lambda done: None if done.cancelled() or done.exception() else self._on_demand.release(done.result()))
            raise

    def _opened(self, info: Deployed) -> Hosted:
        opener = encoder.open_encoder if info.task == encoder.TASK else open_export
        return Hosted(info, opener(Path(info.folder), threads=self.workers), None)

    def _note(self, hosted: Hosted, examples: Sequence[Example], answers: list[Answered]) -> None:
        task, masking = hosted.endpoint.task, hosted.endpoint.masking
        events: list[Event] = [
            PredictionAnswered(
                endpoint=hosted.info.name,
                id=one.prediction.id,
                export=hosted.info.export_id,
                output=one.prediction.output,
                confidence=one.prediction.confidence,
                abstained=one.prediction.abstained,
                out_of_scope=one.prediction.out_of_scope,
                tokens=one.tokens,
                latency_ms=round(one.latency_ms, 3),
                batch=one.batch,
                written_tokens=one.prediction.details.get("completion_tokens", 0),
                first_token_ms=one.prediction.details.get("first_token_ms", 0.0),
                text=masking.kept(task.text(example)) if self.keep_text else "",
            )
            for example, one in zip(examples, answers, strict=True)
        ]
        self._recorder.record(events)
        for listener in self.listeners:
            listener(hosted, answers)

    def failed(self, name: str, error: Exception) -> None:
        """Journals that an endpoint could not answer. Of an error that is not ours only its kind: its text may hold a customer's."""
        code, message = (error.code, error.message) if isinstance(error, LuthierError) else ("error", type(error).__name__)
        self._recorder.record([PredictionFailed(endpoint=name, code=code, message=message, at=time.time())])

    def close(self) -> None:
        """Answers what is queued, writes the journal and ends."""
        self._stop.set()
        self._looker.join()
        for hosted in self._open.values():
            hosted.endpoint.close()
        self._open.clear()
        self._on_demand.close()
        self._recorder.close()
