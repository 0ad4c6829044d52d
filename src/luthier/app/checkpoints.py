"""The checkpoints of fine-tuning jobs: models of the way, each an artifact with a name of its own that can be asked and deployed."""

from __future__ import annotations

import secrets
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from luthier.app.tuning_spec import KEPT_CHECKPOINTS
from luthier.core.errors import UnknownName
from luthier.core.tuning import FINAL
from luthier.core.types import Artifact
from luthier.store.tables import CHECKPOINTS, DEPLOYMENTS, TUNED_MODELS, TUNINGS

if TYPE_CHECKING:
    from luthier.app.service import Service


class Checkpoints:
    """The checkpoints of one workspace."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.engine = service.workspace.engine()

    def page(self, job: str, limit: int, after: str = "") -> list[dict[str, Any]]:
        """At most ``limit`` of the job's checkpoints, newest step first, from behind the checkpoint ``after``."""
        query = select(CHECKPOINTS).where(CHECKPOINTS.c.job == job).order_by(CHECKPOINTS.c.step.desc()).limit(limit)
        with self.engine.connect() as connection:
            if after:
                step = connection.execute(select(CHECKPOINTS.c.step).where(CHECKPOINTS.c.id == after, CHECKPOINTS.c.job == job)).scalar()
                if step is None:
                    raise UnknownName(f"there is no checkpoint {after!r} of {job}", "send the id of the last one that you have")
                query = query.where(CHECKPOINTS.c.step < step)
            return [dict(row) for row in connection.execute(query).mappings()]

    def find(self, name: str) -> dict[str, Any] | None:
        """The checkpoint with this name (``ft:...:ckpt-step-120``) or id."""
        mine = CHECKPOINTS.c.workspace == self.service.workspace.name
        query = select(CHECKPOINTS).where(mine, (CHECKPOINTS.c.name == name) | (CHECKPOINTS.c.id == name))
        with self.engine.connect() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else dict(row)

    def add(
        self, job: str, name: str, step: int, folder: Path, dataset: Artifact, metrics: dict[str, float], keep: int = KEPT_CHECKPOINTS
    ) -> bool:
        """Makes an artifact of a model folder and names it; whether it is new. The oldest beyond the ``keep`` newest are let go."""
        taken = self.service.workspace.artifacts.add(
            folder, "model", parents=(dataset.id,), name=name, summary={"step": step} | metrics, plan=_plan(folder)
        )
        if folder.exists():
            shutil.rmtree(folder, ignore_errors=True)
        row = {
            "id": f"ftckpt_{secrets.token_hex(12)}",
            "workspace": self.service.workspace.name,
            "job": job,
            "name": name,
            "artifact": taken.id,
            "step": step,
            "metrics": metrics,
            "created_at": time.time(),
        }
        try:
            with self.engine.begin() as connection:
                connection.execute(insert(CHECKPOINTS).values(**row))
        except IntegrityError:
            return False  # made again after a kill: the same step, the same weights
        self._let_go(job, max(1, keep))
        return True

    def _let_go(self, job: str, keep: int) -> None:
        """Keeps the newest; older ones go with their artifact, unless something was made of it or is asked of it."""
        for row in self.page(job, 1000)[keep:]:
            if self._used(row):
                continue
            with self.engine.begin() as connection:
                connection.execute(delete(CHECKPOINTS).where(CHECKPOINTS.c.id == row["id"]))
            self.service.workspace.artifacts.forget(row["artifact"])

    def _used(self, row: dict[str, Any]) -> bool:
        mine = row["workspace"]
        named = select(TUNED_MODELS.c.name).where(TUNED_MODELS.c.workspace == mine, TUNED_MODELS.c.model == row["artifact"])
        asked = select(DEPLOYMENTS.c.name).where(DEPLOYMENTS.c.workspace == mine, DEPLOYMENTS.c.model == row["name"])
        trained = select(TUNINGS.c.id).where(TUNINGS.c.workspace == mine, TUNINGS.c.model == row["name"], TUNINGS.c.state.not_in(FINAL))
        others = select(CHECKPOINTS.c.id).where(CHECKPOINTS.c.artifact == row["artifact"], CHECKPOINTS.c.id != row["id"])
        with self.engine.connect() as connection:
            return any(connection.execute(query.limit(1)).first() is not None for query in (named, asked, trained, others))


def _plan(folder: Path) -> dict[str, Any]:
    from luthier.store import files

    found: dict[str, Any] = files.read_json(folder / "plan.json")
    return found
