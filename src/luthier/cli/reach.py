"""Here or far away: a command asks for what it needs by one interface, and ``--url`` decides who answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

if TYPE_CHECKING:
    from luthier.core.plan import Plan
    from luthier.core.spec import Spec
    from luthier.stages.watch.summary import WatchSummary

Url = Annotated[str, typer.Option("--url", envvar="LUTHIER_URL", help="address of a server; without it: the workspace on this machine")]
Key = Annotated[str, typer.Option("--key", envvar="LUTHIER_API_KEY", help="API key of that server")]

Record = dict[str, Any]


class Jobs(Protocol):
    """Fine-tuning jobs, as OpenAI's objects."""

    def create(self, body: Record) -> Record:
        """A job."""

    def list(self, limit: int = 20, after: str = "", metadata: dict[str, str] | None = None) -> Record:
        """A page, newest first."""

    def get(self, job: str) -> Record:
        """One job."""

    def cancel(self, job: str) -> Record:
        """Ends it."""

    def pause(self, job: str) -> Record:
        """Halts it."""

    def resume(self, job: str) -> Record:
        """Lets it go on."""

    def delete(self, job: str) -> None:
        """Takes a finished one out of the lists."""

    def events(self, job: str, limit: int = 20, after: str = "") -> Record:
        """What it said, newest first."""

    def checkpoints(self, job: str, limit: int = 10, after: str = "") -> Record:
        """Its checkpoints, newest first."""


class Files(Protocol):
    """Uploaded files, as OpenAI's objects."""

    def upload(self, path: Path, purpose: str = "fine-tune", *, expires_after_s: int = 0) -> Record:
        """Sends one."""

    def list(self, limit: int = 20, after: str = "", *, purpose: str = "") -> Record:
        """A page, newest first."""

    def get(self, file: str) -> Record:
        """One of them."""

    def content(self, file: str, path: Path) -> Path:
        """Writes what is in it to ``path``."""

    def check(self, file: str) -> Record:
        """It, once it was checked."""

    def delete(self, file: str) -> Any:
        """Removes it."""


class Labellings(Protocol):
    """Labels made with people."""

    def create(self, name: str, **more: Any) -> Record:
        """Makes a labelling without rows."""

    def add(self, name: str, rows: Iterable[Record], author: str) -> Record:
        """Puts messages into it."""

    def ready(self, name: str, tell: Callable[[int, int], None]) -> None:
        """Vectors are made now, where that is on this machine."""

    def list(self, limit: int = 20, after: str = "") -> Record:
        """A page, newest first."""

    def get(self, name: str) -> Record:
        """One of them."""

    def next(self, name: str, author: str, count: int) -> Sequence[Record]:
        """The rows to label next."""

    def progress(self, name: str, author: str) -> Record:
        """How far an author is."""

    def say(self, name: str, labels: Sequence[Record], author: str) -> Record:
        """Accepts, corrects, skips or settles; the author's progress."""

    def undo(self, name: str, author: str) -> Record:
        """Takes the author's last label back."""

    def share(self, name: str, count: int, author: str) -> Record:
        """Gives rows to every author."""

    def agreement(self, name: str) -> Sequence[Record]:
        """Kappa of each two authors."""

    def doubts(self, name: str) -> Record:
        """Labels that are likely wrong."""

    def export(self, name: str, form: str) -> str:
        """The labels as a file's text."""

    def dataset(self, name: str, sets: Sequence[str]) -> Record:
        """A dataset here, an uploaded file on a server: its ``id``."""

    def delete(self, name: str) -> Any:
        """Removes it."""


class Rollouts(Protocol):
    """Versions of endpoints and how traffic goes from one to another; each gives the endpoint as it is then."""

    def get(self, endpoint: str) -> Record:
        """Versions, traffic and the newest rollout."""

    def list(self) -> Any:
        """The same of every endpoint."""

    def promote(self, endpoint: str) -> Record:
        """All traffic to the candidate."""

    def abort(self, endpoint: str) -> Record:
        """All traffic back."""

    def back(self, endpoint: str) -> Record:
        """The version before the present one answers again."""

    def traffic(self, endpoint: str, table: dict[str, int]) -> Record:
        """Shares by hand."""

    def remove(self, endpoint: str, version: str) -> Record:
        """Forgets a version."""


class Reach(Protocol):
    """What commands ask for. Rows are what ``--json`` prints; both sides give the same."""

    @property
    def jobs(self) -> Jobs:
        """Fine-tuning jobs."""

    @property
    def files(self) -> Files:
        """Uploaded files."""

    @property
    def labellings(self) -> Labellings:
        """Labels made with people."""

    @property
    def rollouts(self) -> Rollouts:
        """Versions of endpoints."""

    def roll_out(self, model: str, endpoint: str, wish: Record, *, force: bool) -> Record:
        """A new version beside the present one: a canary, or a mirror."""

    def models(self) -> list[Record]:
        """The catalog, and what of it can be used there now."""

    def plugins(self) -> dict[str, list[str]]:
        """Names of plugins by room."""

    def artifacts(self, kind: str) -> list[Record]:
        """What was made, oldest first."""

    def runs(self) -> list[Record]:
        """Recipes that ran, newest first."""

    def endpoints(self) -> list[Record]:
        """What is deployed."""

    def deploy(self, model: str, endpoint: str, *, force: bool) -> Record:
        """Makes an endpoint answer with a model; its ``endpoint`` and ``export``."""

    def undeploy(self, endpoint: str) -> None:
        """Takes an endpoint away."""

    def ask(self, endpoint: str, texts: list[str], *, scores: bool) -> list[Record]:
        """Its answers."""

    def feedback(self, endpoint: str, identity: str, *, thumbs: str, right: str, comment: str) -> None:
        """Judges an answer."""

    def watch(self, endpoint: str, window_s: float) -> WatchSummary:
        """Its last seconds."""

    def plan(self, spec: Spec) -> Plan:
        """What a recipe would do."""


def reach(url: str = "", key: str = "") -> Reach:
    """Who answers: the server at ``url``, or (empty) the workspace on this machine."""
    if url:
        from luthier.cli.there import There

        return There(url, key)
    from luthier.cli.here import Here

    return Here()


def artifact_rows(found: Iterable[Record]) -> list[Record]:
    """Artifacts, newest first, as ``luthier artifacts`` shows them."""
    rows = [{"id": a["id"], "name": a["name"], "size_MB": a["size_bytes"] / 1e6, "parents": list(a["parents"])} for a in found]
    return rows[::-1]


def deployed(said: Record) -> Record:
    """A deployment that is done as ``luthier deploy`` says it; raises ``JobFailed`` with the reason for one that failed."""
    if said["state"] == "failed":
        error = said["error"] or {}
        from luthier.core.errors import JobFailed

        raise JobFailed(f"{said['model']} is not deployed to {said['name']!r}: {error.get('message', '')}", str(error.get("hint", "")))
    return {"endpoint": said["name"], "export": said["export"]}
