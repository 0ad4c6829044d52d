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
from luthier.stages.serve.mirror import Mirror
from luthier.stages.serve.on_demand import MOST, Held, OnDemand
from luthier.stages.serve.recorder import Appends, Recorder
from luthier.stages.serve.reservoir import Reservoir, sample_path
from luthier.stages.serve.traffic import Ask, Shared, parts, shared
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
    """One version of an endpoint as it is served now (``version`` is empty where there are none)."""

    def __init__(self, info: Any, endpoint: Endpoint | WritingEndpoint, version: str = "") -> None:
        self.info: Deployed = info
        self.endpoint = endpoint
        self.version = version


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
        self._shared: dict[str, Shared] = {}
        self._problems: dict[str, str] = {}
        self._reservoirs: dict[str, Reservoir] = {}
        self._on_demand = OnDemand(self._opened, on_demand)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._recorder = Recorder(journal, also=self._write_samples)
        self._mirror = Mirror(self._recorder)
        self.refresh()
        self._looker = threading.Thread(target=self._look, name="deployments", daemon=True)
        self._looker.start()

    # -- deployments ----------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Opens what is new or changed, then swaps, then closes what it replaced once that has answered its calls."""
        with self._lock:
            wanted = {info.name: info for info in self.deployments.list()}
            for name, info in wanted.items():
                self._serve(name, info)
            for name in set(self._open) - set(wanted):
                self._open.pop(name)
                for hosted in self._shared.pop(name).every():
                    hosted.endpoint.close()
            for name in set(self._problems) - set(wanted):
                self._problems.pop(name)

    def _serve(self, name: str, info: Any) -> None:
        """The endpoint's versions as they should be: what cannot be opened is a problem, and the main one of before goes on."""
        before = self._shared.get(name)
        have = {hosted.info.export_id: hosted for hosted in before.every()} if before is not None else {}
        versions = parts(info)
        now: dict[str, Hosted] = {}
        whole = True
        for one, version in [*((part, one.name) for one, part in versions), (info, "")]:
            if one.export_id not in now:
                hosted = have.get(one.export_id) or self._version(name, one, version)
                whole = whole and hosted is not None
                now |= {one.export_id: hosted} if hosted is not None else {}
        main = now.get(info.export_id) or (before.main if before is not None else None)
        if whole:  # also after a deployment that could not be opened was taken back
            self._problems.pop(name, None)
        if main is None:
            for hosted in now.values():
                hosted.endpoint.close()
            return
        if before is None or before.main is not main:
            self._sample(name, main)
        self._open[name], self._shared[name] = main, shared(name, main, [one for one, _ in versions], now)
        for hosted in have.values():
            if hosted not in (main, *now.values()):
                hosted.endpoint.close()

    def _version(self, name: str, info: Any, version: str) -> Hosted | None:
        try:
            return Hosted(info, open_export(Path(info.folder), threads=self.workers), version=version)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one export, the other endpoints must be served
            self._problem(name, error)
            return None

    def _problem(self, name: str, error: Exception) -> None:
        said = str(error) if isinstance(error, LuthierError | OSError) else f"{type(error).__name__}: {error}"
        if self._problems.get(name) != said:  # it is tried again every second, and said once
            LOG.warning("endpoint %s cannot be opened: %s", name, said, exc_info=None if isinstance(error, LuthierError) else error)
        self._problems[name] = said

    def _sample(self, name: str, main: Hosted) -> None:
        # A new deployment starts a new sample: another model's embeddings cannot be compared with this one's reference.
        if self.samples is not None:
            self._reservoirs[name] = Reservoir(sample_path(self.samples, name), main.info.export_id)
            main.endpoint.watchers.append(self._reservoirs[name].add)

    def _look(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            try:
                self.refresh()
            except Exception:
                LOG.exception("the deployments could not be read; the present ones go on")

    def _write_samples(self) -> None:
        for reservoir in list(self._reservoirs.values()):
            reservoir.write()

    def get(self, name: str, ask: Ask | None = None) -> Hosted:
        """The endpoint's version that answers such a request now (``None``: its main one); raises ``UnknownName``."""
        if ask is not None and name in self._shared:
            return self._shared[name].choose(ask)
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

    async def predict(self, name: str, examples: Sequence[Example], ask: Ask | None = None) -> list[Answered]:
        """Answers and journals; a call that meets a swap goes to the successor."""
        return (await self.predict_by(name, examples, ask))[1]

    async def predict_by(self, name: str, examples: Sequence[Example], ask: Ask | None = None) -> tuple[Hosted, list[Answered]]:
        """The same, with the version that answered."""
        ask = ask or Ask.of(name)
        while True:
            hosted = self.get(name, ask)
            try:
                answers = await hosted.endpoint.predict(examples)
            except Closed:
                if self.get(name, ask) is hosted:
                    raise
                continue
            except Exception as error:
                self.failed(name, error, hosted.version)
                raise
            self._note(hosted, examples, answers)
            if shares := self._shared.get(name):
                self._mirror.copy(shares, hosted, examples, answers)
            return hosted, answers

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

    async def stream(self, name: str, example: Example, wish: Wish, ask: Ask | None = None) -> AsyncIterator[Said]:
        """What an endpoint's model writes, piece by piece; journaled when it is whole. One that meets a swap begins at the successor."""
        ask, begun = ask or Ask.of(name), False
        while True:
            hosted = self.get(name, ask)
            try:
                async for said in self._streamed(hosted, example, wish):
                    begun = True
                    yield said
                return
            except Closed:
                if begun or self.get(name, ask) is hosted:
                    raise

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
        except Closed:
            raise  # not a failure: the successor answers
        except Exception as error:
            self.failed(hosted.info.name, error, hosted.version)
            raise

    async def embed(self, name: str, examples: Sequence[Example], version: str = "") -> list[Answered]:
        """Vectors (``encoder``) by an endpoint's main version, or the named one: those of two models cannot be compared, so they are never
        mixed. Nothing is journaled: a vector is no answer that anybody judges."""
        ask = Ask(0, version) if version else None
        while True:
            hosted = self.get(name, ask)
            try:
                return await hosted.endpoint.embeddings().predict(examples)
            except Closed:
                if self.get(name, ask) is hosted:
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
        return Hosted(info, opener(Path(info.folder), threads=self.workers))

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
                version=hosted.version,
            )
            for example, one in zip(examples, answers, strict=True)
        ]
        self._recorder.record(events)
        for listener in self.listeners:
            listener(hosted, answers)

    def failed(self, name: str, error: Exception, version: str = "") -> None:
        """Journals that an endpoint could not answer. Of an error that is not ours only its kind: its text may hold a customer's."""
        code, message = (error.code, error.message) if isinstance(error, LuthierError) else ("error", type(error).__name__)
        self._recorder.record([PredictionFailed(endpoint=name, code=code, message=message, version=version, at=time.time())])

    def close(self) -> None:
        """Answers what is queued, writes the journal and ends."""
        self._stop.set()
        self._looker.join()
        for shares in self._shared.values():
            for hosted in shares.every():
                hosted.endpoint.close()
        self._open.clear()
        self._shared.clear()
        self._on_demand.close()
        self._recorder.close()
