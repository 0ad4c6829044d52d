"""Which of an endpoint's open versions answers a request: by its traffic table, the same for a user each time, or the one that is named."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.core.errors import UnknownName
from luthier.core.rollout import BUCKETS, bucket_of, chosen

if TYPE_CHECKING:
    from luthier.stages.serve.host import Hosted


@dataclass(frozen=True)
class Ask:
    """How a request wants to be answered. ``bucket``: where it falls in the traffic table; ``version``: the one it names ("": none)."""

    bucket: int
    version: str = ""

    @classmethod
    def of(cls, endpoint: str, user: str = "", version: str = "") -> Ask:
        """Requests of one user fall to the same version; without a user, to any."""
        return cls(bucket_of(endpoint, user) if user else random.randrange(BUCKETS), version)


@dataclass(frozen=True)
class Part:
    """A version as the host opens it: what ``Deployed`` asks for."""

    name: str
    task: str
    export_id: str
    model_id: str
    folder: Path


@dataclass(frozen=True)
class Shared:
    """The open versions of one endpoint: ``main`` answers where nothing else is said; ``table`` has the shares, the oldest first."""

    name: str
    main: Hosted
    versions: dict[str, Hosted] = field(default_factory=dict)
    table: tuple[tuple[str, int], ...] = ()
    mirrors: tuple[tuple[str, int], ...] = ()

    def choose(self, ask: Ask | None) -> Hosted:
        """What answers; raises ``UnknownName`` for a version that is not open."""
        if ask is None:
            return self.main
        if ask.version:
            if ask.version not in self.versions:
                raise UnknownName.among(f"open deployment of endpoint {self.name!r}", ask.version, self.versions)
            return self.versions[ask.version]
        if not self.table:
            return self.main
        return self.versions.get(chosen(self.table, ask.bucket), self.main)  # one that cannot be opened: its share goes to the main one

    def every(self) -> list[Hosted]:
        """All that is open."""
        found = {id(hosted): hosted for hosted in (self.main, *self.versions.values())}
        return list(found.values())


def parts(info: Any) -> list[tuple[Any, Part]]:
    """The versions of an endpoint, each with what is to be opened for it; none for one that knows of no versions."""
    return [(one, Part(info.name, one.what.task, one.export_id, one.what.model, Path(one.folder))) for one in getattr(info, "versions", ())]


def shared(name: str, main: Hosted, versions: Sequence[Any], hosted: dict[str, Hosted]) -> Shared:
    """The table of these versions; ``hosted`` has those that are open, by export."""
    by_name = {one.name: hosted[one.export_id] for one in versions if one.export_id in hosted}
    table = tuple((one.name, one.traffic) for one in versions if one.traffic)
    mirrors = tuple((one.name, one.mirror) for one in versions if one.mirror and one.name in by_name)
    return Shared(name, main, by_name, table, mirrors)
