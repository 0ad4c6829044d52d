"""Commands answered by the workspace on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.app.records import Records
from luthier.app.service import Service
from luthier.app.tuning_objects import page
from luthier.cli.reach import Record, artifact_rows, deployed
from luthier.core import registry
from luthier.core.errors import InputError, UnknownName
from luthier.core.plan import Plan
from luthier.core.spec import Spec
from luthier.store import files

if TYPE_CHECKING:
    from luthier.app.fine_tuning import FineTuning
    from luthier.app.rollouts import Rollouts
    from luthier.cli.here_labellings import HereLabellings
    from luthier.stages.watch.summary import WatchSummary

BLOCK = 1 << 20


class Here:
    """A service in this process."""

    def __init__(self) -> None:
        self.service = Service()

    @cached_property
    def jobs(self) -> FineTuning:
        """Fine-tuning jobs; a server or a worker runs them."""
        return self.service.fine_tuning

    @cached_property
    def files(self) -> HereFiles:
        """Uploaded files."""
        return HereFiles(self.service)

    @cached_property
    def labellings(self) -> HereLabellings:
        """Labels made with people."""
        from luthier.cli.here_labellings import HereLabellings

        return HereLabellings(self.service)

    def models(self) -> list[Record]:
        """The catalog, and what of it can be used here now."""
        return self.service.model_table()

    def plugins(self) -> dict[str, list[str]]:
        """Names of plugins by room."""
        return {room: registry.names(room) for room in registry.ROOMS}

    def artifacts(self, kind: str) -> list[Record]:
        """What was made, oldest first."""
        return artifact_rows(_every(lambda after: Records(self.service).artifacts(kind, 1000, after)))

    def runs(self) -> list[Record]:
        """Recipes that ran, newest first."""
        return list(_every(lambda after: Records(self.service).runs(100, after)))

    def endpoints(self) -> list[Record]:
        """What is deployed."""
        return [{"name": i.name, "task": i.task, "export": i.export_id, "model": i.model_id} for i in self.service.endpoints.list()]

    def deploy(self, model: str, endpoint: str, *, force: bool) -> Record:
        """An export (or the newest one of a model), or what has a name of its own (``ft:...``, an encoder): then it is made ready now."""
        try:
            info = self.service.deploy(self.service.export_of(model), endpoint, force=force)
            return {"endpoint": info.name, "export": info.export_id}
        except UnknownName as unknown:
            return self._deploy_named(model, endpoint, force, unknown)

    def _deploy_named(self, model: str, endpoint: str, force: bool, unknown: UnknownName) -> Record:
        deployments = self.service.deployments
        try:
            deployments.put(endpoint, model, force=force)
        except UnknownName:
            raise unknown from None
        deployments.work(endpoint)
        return deployed(deployments.get(endpoint))

    @property
    def rollouts(self) -> Rollouts:
        """Versions of endpoints; a server or a worker decides on canaries."""
        return self.service.rollouts

    def roll_out(self, model: str, endpoint: str, wish: Record, *, force: bool) -> Record:
        """A new version beside the present one."""
        from luthier.core.plan import RolloutPlan
        from luthier.core.spec import make_spec

        plan = RolloutPlan(**make_spec({"name": "rollout", "deploy": wish}).deploy)
        return self.service.rollouts.start(self.service.rollouts.export_of(model), endpoint, plan, force=force)

    def undeploy(self, endpoint: str) -> None:
        """Takes an endpoint away, and what was asked about it over HTTP."""
        self.service.endpoints.get(endpoint)
        self.service.deployments.delete(endpoint)

    def ask(self, endpoint: str, texts: list[str], *, scores: bool) -> list[Record]:
        """Its answers, in this process; only a server journals them."""
        from luthier.app.notebook import Endpoint

        with Endpoint(self.service, self.service.endpoints.get(endpoint)) as opened:
            answers: list[Record] = opened.predict(texts, scores=scores)
        return answers

    def feedback(self, endpoint: str, identity: str, *, thumbs: str, right: str, comment: str) -> None:
        """Judges an answer."""
        self.service.feedback(endpoint, identity, thumbs=thumbs, right=right or None, comment=comment)

    def watch(self, endpoint: str, window_s: float) -> WatchSummary:
        """Its last seconds."""
        return self.service.watch(endpoint, window_s)

    def plan(self, spec: Spec) -> Plan:
        """What a recipe would do."""
        return self.service.plan(spec, check_memory=False)


class HereFiles:
    """Files of the workspace, as OpenAI's objects."""

    def __init__(self, service: Service) -> None:
        self._files = service.files

    def upload(self, path: Path, purpose: str = "fine-tune", *, expires_after_s: int = 0) -> Record:
        """Copies a file into the workspace and checks it."""
        expiry = {"anchor": "created_at", "seconds": expires_after_s} if expires_after_s else None
        return self._files.create(path.name, purpose, _blocks(path), expiry).as_object()

    def list(self, limit: int = 20, after: str = "", *, purpose: str = "") -> Record:
        """A page, newest first."""
        found = self._files.list(purpose, limit, "desc", after)
        objects = page([info.as_object() for info in found.files], limit)
        return objects | {"has_more": found.has_more}

    def get(self, file: str) -> Record:
        """One of them, and what its check found."""
        info = self._files.get(file)
        return info.as_object() | {"facts": info.facts}

    def content(self, file: str, path: Path) -> Path:
        """Writes what is in it to ``path``: whole, or not at all."""
        content = self._files.content(file)
        with files.written_aside(path) as aside, aside.open("wb") as handle:
            handle.writelines(content)
        return path

    def check(self, file: str) -> Record:
        """Checks it now, if it was not."""
        if self._files.get(file).status == "uploaded":
            self._files.check(file)
        return self.get(file)

    def delete(self, file: str) -> None:
        """Removes it; raises ``Conflict`` while a job uses it."""
        self._files.delete(file)


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as handle:
            while block := handle.read(BLOCK):
                yield block
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", "name a file") from None


def _every(a_page: Callable[[str], dict[str, Any]]) -> Iterator[Record]:
    after = ""
    while True:
        found = a_page(after)
        yield from found["data"]
        if not found["has_more"]:
            return
        after = found["last_id"]
