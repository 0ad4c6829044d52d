"""Commands answered by a server far away."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from luthier.cli.reach import Record, artifact_rows, deployed
from luthier.client import Client
from luthier.client.labelling import Labellings
from luthier.core.errors import InputError, JobFailed, UnknownName
from luthier.core.plan import Plan
from luthier.core.spec import Spec

if TYPE_CHECKING:
    from luthier.stages.watch.summary import WatchSummary

DEPLOY_S = 1800.0
"""How long a deployment may take: a model that was not exported yet is exported now."""


class There:
    """A server at ``url``."""

    def __init__(self, url: str, key: str = "") -> None:
        self.client = Client(url, key)
        self.jobs = self.client.jobs
        self.files = self.client.files
        self.rollouts = self.client.rollouts
        self.labellings = ThereLabellings(self.client.connection)
        self.sleep: Callable[[float], None] = time.sleep

    def models(self) -> list[Record]:
        """The catalog, and what of it can be used there now."""
        return self.client.catalog.models()

    def plugins(self) -> dict[str, list[str]]:
        """Names of plugins by room."""
        return self.client.catalog.plugins()

    def artifacts(self, kind: str) -> list[Record]:
        """What was made, oldest first."""
        return artifact_rows(self.client.artifacts.all(kind=kind))

    def runs(self) -> list[Record]:
        """Recipes that ran, newest first."""
        return list(self.client.runs.all())

    def endpoints(self) -> list[Record]:
        """What answers there."""
        return [{name: one[name] for name in ("name", "task", "export", "model")} for one in self.client.endpoints.list()]

    def deploy(self, model: str, endpoint: str, *, force: bool) -> Record:
        """An export (or the newest one of a model) there, or what has a name of its own (``ft:...``, an encoder): then waits for it."""
        try:
            made = self.client.artifacts.deploy(model, endpoint, force=force)
            return {"endpoint": made["endpoint"], "export": made["export"]}
        except UnknownName as unknown:
            return self._deploy_named(model, endpoint, force, unknown)

    def _deploy_named(self, model: str, endpoint: str, force: bool, unknown: UnknownName) -> Record:
        try:
            said = self.client.deployments.put(endpoint, model, force=force)
        except UnknownName:
            raise unknown from None
        end = time.monotonic() + DEPLOY_S
        while said["state"] not in ("succeeded", "failed"):
            if time.monotonic() > end:
                raise JobFailed(f"{endpoint!r} is {said['state']} for {DEPLOY_S:.0f} s", "luthier endpoints shows when it answers")
            self.sleep(1.0)
            said = self.client.deployments.get(endpoint)
        return deployed(said)

    def roll_out(self, model: str, endpoint: str, wish: Record, *, force: bool) -> Record:
        """A new version beside the present one."""
        return self.client.rollouts.start(endpoint, model, **wish, force=force)

    def undeploy(self, endpoint: str) -> None:
        """Takes an endpoint away."""
        self.client.deployments.delete(endpoint)

    def ask(self, endpoint: str, texts: list[str], *, scores: bool) -> list[Record]:
        """Its answers."""
        answers: list[Record] = self.client.predict(endpoint, texts, scores=scores)
        return [{name: value for name, value in one.items() if name != "latency_ms"} for one in answers]

    def feedback(self, endpoint: str, identity: str, *, thumbs: str, right: str, comment: str) -> None:
        """Judges an answer."""
        self.client.feedback.give(endpoint, identity, thumbs=thumbs, right=right or None, comment=comment)

    def watch(self, endpoint: str, window_s: float) -> WatchSummary:
        """Its last seconds."""
        from luthier.stages.watch.drift import Drift
        from luthier.stages.watch.summary import WatchSummary

        said = self.client.watch(endpoint, window_s)
        known: dict[str, Any] = {name: math.nan if value is None else value for name, value in said.items()}
        return WatchSummary(**known | {"drift": Drift(**said["drift"])})

    def plan(self, spec: Spec) -> Plan:
        """What a recipe would do there."""
        return Plan.model_validate(self.client.plan(spec.model_dump(mode="json", exclude_unset=True)))


class ThereLabellings(Labellings):
    """Labellings of a server."""

    def add(self, name: str, rows: Iterable[Mapping[str, Any]], author: str = "") -> Record:
        """Sends what can be used; a row that cannot is refused alone, as it would be here."""
        from luthier.labelling.incoming import sendable

        refusals: list[Record] = []
        said = super().add(name, sendable(self.get(name)["kind"], rows, author, refusals.append), author)
        return said | {"refused": said["refused"] + len(refusals), "refusals": [*refusals, *said["refusals"]]}

    def ready(self, name: str, tell: Callable[[int, int], None]) -> None:
        """The server makes vectors in the background."""

    def dataset(self, name: str, sets: Sequence[str]) -> Record:
        """An uploaded file with the labels."""
        if sets:
            raise InputError("--set decides how a dataset is prepared; a server gets a file", "leave it out: the job says how")
        return self.file(name)
