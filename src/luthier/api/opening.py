"""From the name that a caller gives to what answers: an endpoint that is served already, or a model opened because it is asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from luthier.api.access import Caller
from luthier.app.endpoints import NAME
from luthier.core.ports import Task
from luthier.core.types import Example, Schema
from luthier.stages.serve.engine import Answered
from luthier.stages.serve.host import Deployed, Host, Hosted
from luthier.stages.serve.writing import Said, Wish


@dataclass(frozen=True)
class Opened:
    """A model that can be asked. ``name``: as the caller wrote it; ``hosted``: as it was when it was opened; ``info``: of what is no
    endpoint.
    """

    host: Host
    name: str
    hosted: Hosted
    info: Deployed | None = None

    @property
    def task(self) -> Task:
        """The task that reads and shapes its answers."""
        return self.hosted.endpoint.task

    @property
    def schema(self) -> Schema:
        """Its labels and limits."""
        return self.hosted.endpoint.schema

    @property
    def export(self) -> str:
        """What answers: the export's id."""
        return self.hosted.info.export_id

    async def predict(self, examples: Sequence[Example]) -> list[Answered]:
        """Answers, in order."""
        return await (self.host.predict(self.name, examples) if self.info is None else self.host.predict_with(self.info, examples))

    def stream(self, example: Example, wish: Wish) -> AsyncIterator[Said]:
        """What it writes, piece by piece."""
        return self.host.stream(self.name, example, wish) if self.info is None else self.host.stream_with(self.info, example, wish)

    async def embed(self, examples: Sequence[Example]) -> list[Answered]:
        """Vectors, in order."""
        return await (self.host.embed(self.name, examples) if self.info is None else self.host.embed_with(self.info, examples))


async def opened(caller: Caller, name: str, *, for_embeddings: bool = False) -> Opened:
    """What answers for the name; raises ``UnknownName``, or ``BeingReady`` while it is made."""
    host = caller.host
    if host.serves(name):
        return Opened(host, name, host.get(name))
    models = caller.service.models
    info = await run_in_threadpool(models.embedding if for_embeddings else models.serving, name)
    if NAME.fullmatch(info.name) and any(one.name == name for one in await run_in_threadpool(caller.service.endpoints.list)):
        await run_in_threadpool(host.refresh)  # deployed a moment ago: the host looks once a second
        return Opened(host, name, host.get(name))
    return Opened(host, name, await host.opened(info), info)
