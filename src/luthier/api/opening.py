"""From the name that a caller gives to what answers: an endpoint that is served already, or a model opened because it is asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

from luthier.api.access import Caller, admission
from luthier.app.endpoints import NAME
from luthier.core.errors import UnknownName
from luthier.core.ports import Task
from luthier.core.types import Example, Schema
from luthier.stages.serve.engine import Answered
from luthier.stages.serve.host import Deployed, Host, Hosted
from luthier.stages.serve.traffic import Ask
from luthier.stages.serve.writing import Said, Wish

VERSION = "x-luthier-deployment"
"""The header that picks a version of an endpoint, and says which one answered."""

USER = "x-luthier-user"
"""The header that says for whom is asked, where the body has no ``user``: each user is answered by the same version."""

MOST_CHARACTERS = 300


@dataclass(frozen=True)
class Opened:
    """A model that can be asked. ``name``: as the caller wrote it; ``hosted``: as it was when it was opened; ``info``: of what is no
    endpoint.
    """

    host: Host
    name: str
    hosted: Hosted
    info: Deployed | None = None
    ask: Ask | None = None
    said: dict[str, str] = field(default_factory=dict)
    """Headers of the response."""

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
        if self.info is not None:
            return await self.host.predict_with(self.info, examples)
        hosted, answers = await self.host.predict_by(self.name, examples, self.ask)
        tell(self.said, hosted)
        return answers

    def stream(self, example: Example, wish: Wish) -> AsyncIterator[Said]:
        """What it writes, piece by piece."""
        return (
            self.host.stream(self.name, example, wish, self.ask) if self.info is None else self.host.stream_with(self.info, example, wish)
        )

    async def embed(self, examples: Sequence[Example]) -> list[Answered]:
        """Vectors, in order."""
        version = self.ask.version if self.ask is not None else ""
        return await (self.host.embed(self.name, examples, version) if self.info is None else self.host.embed_with(self.info, examples))


async def opened(caller: Caller, name: str, user: str | None = None, *, for_embeddings: bool = False) -> Opened:
    """What answers ``user`` for the name; raises ``UnknownName``, or ``BeingReady`` while it is made."""
    host = caller.host
    if host.serves(name):
        return _served(caller, name, user, for_embeddings)
    models = caller.service.models
    info = await run_in_threadpool(models.embedding if for_embeddings else models.serving, name)
    if NAME.fullmatch(info.name) and any(one.name == name for one in await run_in_threadpool(caller.service.endpoints.list)):
        await run_in_threadpool(host.refresh)  # deployed a moment ago: the host looks once a second
        return _served(caller, name, user, for_embeddings)
    if version := caller.request.headers.get(VERSION, ""):
        raise UnknownName(f"{name[:100]!r} is no endpoint: it has no deployment {version[:40]!r}", f"leave the header {VERSION} out")
    return Opened(host, name, await host.opened(info), info)


def _served(caller: Caller, name: str, user: str | None, for_embeddings: bool) -> Opened:
    ask, said = asked(caller, name, user), admission(caller.request.scope).headers
    # Vectors of two models are never mixed: without a name the main version makes them.
    hosted = caller.host.get(name, ask if ask.version or not for_embeddings else None)
    tell(said, hosted)
    return Opened(caller.host, name, hosted, ask=ask, said=said)


def asked(caller: Caller, endpoint: str, user: str | None = None) -> Ask:
    """By which version a request wants to be answered: its headers say so, or its user."""
    headers = caller.request.headers
    who = user or headers.get(USER, "")
    return Ask.of(endpoint, who[:MOST_CHARACTERS], headers.get(VERSION, "")[:MOST_CHARACTERS])


def tell(said: dict[str, str], hosted: Hosted) -> None:
    """Puts the version into the response's headers."""
    if hosted.version:
        said[VERSION] = hosted.version
