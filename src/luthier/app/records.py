"""What was made and how it went, as every door shows it: artifacts, datasets, evaluations, runs and judgements, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, and_, or_, select

from luthier.app.shown import Shown
from luthier.app.tuning_objects import page
from luthier.core.errors import InputError, UnknownName
from luthier.core.events import FeedbackGiven
from luthier.core.types import Artifact
from luthier.store import files
from luthier.store.tables import JOBS, RUNS

if TYPE_CHECKING:
    from luthier.app.endpoints import EndpointInfo
    from luthier.app.service import Service

Record = dict[str, Any]
"""One object as JSON. A page is ``{object: "list", data, has_more, first_id, last_id}``, newest first."""


class Records:
    """The records of one workspace. Folders of the server are in none of them."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.workspace = service.workspace

    # -- artifacts ------------------------------------------------------------------------------------------------

    def artifacts(self, kind: str = "", limit: int = 20, after: str = "") -> Record:
        """A page of the artifacts (of that kind); ``after``: the id of the last one that the caller has."""
        found = self.workspace.artifacts.all(kind)[::-1]
        if after:
            ids = [one.id for one in found]
            if after not in ids:
                raise UnknownName.among(kind or "artifact", after, ids)
            found = found[ids.index(after) + 1 :]
        return page([self._about(one) for one in found[: limit + 1]], limit)

    def artifact(self, name: str, kind: str = "") -> Record:
        """An artifact by id or name (then the newest), with its plan."""
        found = self._find(name, kind)
        manifest = self.workspace.artifacts.manifest(found.id)
        shown = Shown(self.workspace, manifest["plan"])
        return self._about(found) | {
            "plan": shown.value(manifest["plan"]),
            "files": {path: {"size_bytes": one["size_bytes"], "sha256": one["sha256"]} for path, one in manifest["files"].items()},
        }

    def lineage(self, name: str, kind: str = "") -> Record:
        """The artifact, its parents, their parents ...: all on one page."""
        found = [self._about(one) for one in self.workspace.artifacts.lineage(self._find(name, kind).id)]
        return page(found, len(found))

    def dataset(self, name: str) -> Record:
        """A dataset with the figures of its report."""
        return self._with(self._find(name, "dataset"), "report", "report.json")

    def evaluation(self, name: str) -> Record:
        """An evaluation with all its figures; also the newest one of a model."""
        return self._with(self._evaluation(name), "figures", "evaluation.json")

    def report(self, name: str) -> str:
        """The page of an evaluation (HTML)."""
        found = self._evaluation(name)
        path = Path(found.path) / "report.html"
        if not path.is_file():
            raise UnknownName(f"{found.id} has no report", "ask for its figures")
        return Shown(self.workspace, self.workspace.artifacts.manifest(found.id)["plan"]).text(path.read_text(encoding="utf-8"))

    def deploy(self, name: str, endpoint: str, *, force: bool = False) -> EndpointInfo:
        """Makes an endpoint answer with an export, or with the newest export of a model."""
        self._find(name, "")
        return self.service.deploy(self.service.export_of(name), endpoint, force=force)

    def _evaluation(self, name: str) -> Artifact:
        known = [one for one in self.workspace.artifacts.all() if name in (one.id, one.name)]
        if known and not any(one.kind == "evaluation" for one in known):
            return self.service.evaluation_of(name)
        return self._find(name, "evaluation")

    def _find(self, name: str, kind: str) -> Artifact:
        if "/" in name or name.startswith("."):  # a path and no name: it is not looked for in the folder
            raise UnknownName.among(kind or "artifact", name, (one.id for one in self.workspace.artifacts.all(kind)))
        return self.workspace.artifacts.get(name, kind)

    def _about(self, found: Artifact) -> Record:
        manifest = self.workspace.artifacts.manifest(found.id)
        return {
            "id": found.id,
            "object": "artifact",
            "kind": found.kind,
            "name": found.name,
            "created_at": int(found.created_at),
            "size_bytes": found.size_bytes,
            "parents": list(found.parents),
            "summary": Shown(self.workspace, manifest["plan"]).value(manifest["summary"]),
        }

    def _with(self, found: Artifact, field: str, name: str) -> Record:
        path = Path(found.path) / name
        said = files.read_json(path) if path.is_file() else {}
        plan = self.workspace.artifacts.manifest(found.id)["plan"]
        return self._about(found) | {field: Shown(self.workspace, plan).value(said)}

    # -- runs -----------------------------------------------------------------------------------------------------

    def runs(self, limit: int = 20, after: str = "") -> Record:
        """A page of the runs with their jobs."""
        query = select(RUNS).where(RUNS.c.workspace == self.workspace.name).order_by(RUNS.c.created_at.desc(), RUNS.c.id.desc())
        if after:
            last = self._run(after)
            older = and_(RUNS.c.created_at == last.created_at, RUNS.c.id < last.id)
            query = query.where(or_(RUNS.c.created_at < last.created_at, older))
        with self.workspace.engine().connect() as connection:
            found = connection.execute(query.limit(limit + 1)).all()
        jobs = self._jobs([row.id for row in found])
        return page([_run(row) | {"jobs": jobs[row.id]} for row in found], limit)

    def run(self, name: str) -> Record:
        """A run with its jobs and its plan."""
        row = self._run(name)
        return _run(row) | {"jobs": self._jobs([row.id])[row.id], "plan": Shown(self.workspace, row.plan).value(row.plan)}

    def _run(self, name: str) -> Row[Any]:
        with self.workspace.engine().connect() as connection:
            mine = and_(RUNS.c.workspace == self.workspace.name, RUNS.c.id == name)
            row: Row[Any] | None = connection.execute(select(RUNS).where(mine)).first()
        if row is None:
            raise UnknownName(f"unknown run {name!r}", "luthier runs lists them")
        return row

    def _jobs(self, runs: Sequence[str]) -> dict[str, list[Record]]:
        """The jobs of each run, in the order in which they were worked on."""
        shown = Shown(self.workspace)
        query = select(JOBS).where(JOBS.c.workspace == self.workspace.name, JOBS.c.run.in_(list(runs))).order_by(JOBS.c.updated_at)
        found: dict[str, list[Record]] = {run: [] for run in runs}
        with self.workspace.engine().connect() as connection:
            for row in connection.execute(query):
                job = {name: getattr(row, name) for name in ("id", "stage", "state", "artifact")}
                found[row.run].append(job | {"error": shown.value(row.error), "updated_at": int(row.updated_at)})
        return found

    # -- judgements -----------------------------------------------------------------------------------------------

    def judgements(self, endpoint: str, limit: int = 20, after: str = "") -> Record:
        """A page of what people said of an endpoint's answers; an entry's ``id`` is the cursor, ``answer`` the answer's id."""
        self.service.endpoints.get(endpoint)
        before = _cursor(after) if after else 0
        found = self.service.journal.last(limit + 1, about=endpoint, names=[FeedbackGiven.name], before=before)
        return page([_judgement(entry.seq, entry.at, entry.body) for entry in found[::-1]], limit)


def _run(row: Row[Any]) -> Record:
    return {
        "id": row.id,
        "object": "run",
        "name": row.name,
        "state": row.state,
        "created_at": int(row.created_at),
        "finished_at": int(row.finished_at) or None,
    }


PREFIX = "feedback-"


def _cursor(name: str) -> int:
    number = name.removeprefix(PREFIX)
    if not (name.startswith(PREFIX) and number.isascii() and number.isdigit() and len(number) <= 18):
        raise InputError(f"after: {name!r} is no judgement's id", "send the id of the last one that you have")
    return int(number)


def _judgement(seq: int, at: float, body: Record) -> Record:
    kept = {name: body.get(name) for name in ("endpoint", "thumbs", "right", "comment")}
    return {"id": f"{PREFIX}{seq:012d}", "object": "feedback", "created_at": int(at), "answer": body["id"]} | kept
