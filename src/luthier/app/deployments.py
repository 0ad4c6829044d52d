"""What was asked to be deployed, by name: rows that a worker makes true; ``endpoints`` holds what answers.

A row is accepted -> creating (a worker has it) -> succeeded or failed. A model without an export is evaluated and exported first. Rows
whose names begin with "." were asked for by nobody: they make a model ready that is asked by its own name.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Engine, RowMapping, and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from luthier.app.endpoints import check_name
from luthier.app.leases import FREE, LEASE_S, free, owner
from luthier.app.models import BeingReady, Model
from luthier.catalog import cards
from luthier.core.errors import Conflict, GateRefused, InputError, LuthierError, NoSpace, SpecError, Stopped, UnknownName
from luthier.core.plan import Plan
from luthier.core.types import Artifact
from luthier.store.tables import DEPLOYMENTS, ENDPOINTS, TUNED_MODELS

if TYPE_CHECKING:
    from luthier.app.service import Service

LOG = logging.getLogger("luthier.deployments")
AGAIN_S = 600.0
"""After how long a model that could not be made ready is tried again, when somebody asks for it."""

WAIT_S = 5.0
"""How long a row rests that had to wait (somebody else exports the same model, the disk is full)."""


class Deployments:
    """The deployments of one workspace."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.workspace = service.workspace
        self.engine: Engine = service.workspace.engine()

    def _is(self, name: str) -> ColumnElement[bool]:
        return and_(DEPLOYMENTS.c.workspace == self.workspace.name, DEPLOYMENTS.c.name == name)

    def _row(self, name: str) -> RowMapping | None:
        with self.engine.connect() as connection:
            return connection.execute(select(DEPLOYMENTS).where(self._is(name))).mappings().first()

    # -- owners ---------------------------------------------------------------------------------------------------

    def put(
        self, name: str, model: str, sku: dict[str, Any] | None = None, properties: dict[str, Any] | None = None, *, force: bool = False
    ) -> dict[str, Any]:
        """Asks that ``name`` answers with a model; what is exported already answers at once, the rest when a worker has made it.

        ``force`` overrules a missed bar of the gate. A deployment of that name is replaced; its model answers until the new one does.
        Raises ``InputError`` for a name or model that cannot be deployed, ``UnknownName``, ``Conflict`` while a rollout runs.
        """
        check_name(name)
        meant = self._deployable(model)
        self.service.rollouts.refuse_running(name)
        values = {
            "model": model,
            "state": "accepted",
            "sku": sku or {},
            "properties": (properties or {}) | ({"force": True} if force else {}),
            "error": {},
            "created_at": time.time(),
            **FREE,
        }
        if meant.card is not None:
            self._take_endpoint(name)
            values["state"] = "succeeded"
        self._write(name, values)
        if meant.kind == "tuned" and meant.row is not None and meant.row["export"]:
            self.work(name)
        return self.get(name)

    def _deployable(self, model: str) -> Model:
        meant = self.service.models.find(model)
        if meant.kind in ("endpoint", "deployment"):
            raise SpecError("model", f"{model!r} is a deployment, not a model", "name the model that it answers with")
        if meant.card is not None:
            if meant.card.architecture != "encoder":
                raise SpecError("model", f"{model!r} is a base model and no encoder: it has nothing to answer with", "deploy a tuned model")
            usable, why_not = cards.availability(meant.card)
            if not usable:
                raise SpecError("model", f"{model!r} cannot be used here: {why_not}", "GET /api/v1/catalog/models says which can")
        return meant

    def _write(self, name: str, values: dict[str, Any]) -> None:
        for _ in range(3):
            with self.engine.begin() as connection:
                if connection.execute(update(DEPLOYMENTS).where(self._is(name)).values(**values)).rowcount:
                    return
            try:
                with self.engine.begin() as connection:
                    connection.execute(insert(DEPLOYMENTS).values(workspace=self.workspace.name, name=name, **values))
                return
            except IntegrityError:  # written by somebody else just now
                continue
        raise Conflict(f"deployment {name!r} is being changed by somebody else", "try again")

    def get(self, name: str) -> dict[str, Any]:
        """The deployment; raises ``UnknownName``."""
        if not name.isprintable() or len(name) > 100:
            raise UnknownName(f"unknown deployment {name[:100]!r}", "list them: GET /api/v1/deployments")
        row = None if name.startswith(".") else self._row(name)
        found = self._shown(row) if row is not None else self._by_hand(name)
        if found is None:
            raise UnknownName.among("deployment", name, (one["name"] for one in self.list()))
        return found

    def list(self) -> list[dict[str, Any]]:
        """Every deployment by name; those that ``luthier deploy`` made are there too."""
        with self.engine.connect() as connection:
            mine = select(DEPLOYMENTS).where(DEPLOYMENTS.c.workspace == self.workspace.name)
            rows = [row for row in connection.execute(mine).mappings() if not row["name"].startswith(".")]
        found = {row["name"]: shown for row in rows if (shown := self._shown(row)) is not None}
        for info in self.service.endpoints.list():
            if info.name not in found and (shown := self._by_hand(info.name)) is not None:
                found[info.name] = shown
        return [found[name] for name in sorted(found)]

    def _shown(self, row: RowMapping) -> dict[str, Any] | None:
        """The row as JSON; ``None`` where its endpoint was taken away by other hands (``luthier undeploy``)."""
        endpoint = self._endpoint(row["name"])
        if row["state"] == "succeeded" and endpoint is None and not self._is_base(row["model"]):
            return None
        return _deployment(row, endpoint)

    def _by_hand(self, name: str) -> dict[str, Any] | None:
        endpoint = self._endpoint(name)
        if endpoint is None:
            return None
        row = {"name": name, "model": endpoint["model"], "state": "succeeded", "sku": {}, "properties": {}, "error": {}}
        return _deployment(row | {"created_at": endpoint["deployed_at"]}, endpoint)

    def _endpoint(self, name: str) -> RowMapping | None:
        mine = and_(ENDPOINTS.c.workspace == self.workspace.name, ENDPOINTS.c.name == name)
        with self.engine.connect() as connection:
            return connection.execute(select(ENDPOINTS).where(mine)).mappings().first()

    def _is_base(self, model: str) -> bool:
        try:
            return self.service.models.find(model).card is not None
        except UnknownName:
            return False

    def delete(self, name: str) -> None:
        """Takes the deployment and its endpoint away; raises ``UnknownName``, and ``Conflict`` while a rollout runs."""
        self.get(name)
        self.service.rollouts.refuse_running(name)
        with self.engine.begin() as connection:
            connection.execute(delete(DEPLOYMENTS).where(self._is(name)))
        self._take_endpoint(name)

    def _take_endpoint(self, name: str) -> None:
        if self._endpoint(name) is not None:
            self.service.undeploy(name)

    # -- models that are asked by their own name --------------------------------------------------------------------

    def prepare(self, model: str) -> LuthierError:
        """Asks that a model without an export is made ready; the error for the caller, who is to ask again (or told why it failed)."""
        name = hidden_name(model)
        row = self._row(name)
        if row is None or row["model"] != model or (row["state"] != "creating" and row["created_at"] < time.time() - AGAIN_S):
            values = {"model": model, "state": "creating", "sku": {}, "properties": {}, "error": {}, "created_at": time.time(), **FREE}
            self._write(name, values)
            row = self._row(name)
        return BeingReady("") if row is None else self.not_ready(row)

    def not_ready(self, row: RowMapping) -> LuthierError:
        """Why a deployment does not answer now."""
        if row["state"] == "failed":
            why, kind = str(row["error"].get("message", "")), GateRefused if row["error"].get("code") == "gate_refused" else Conflict
            return kind(f"{row['model']!r} could not be made ready: {why}", str(row["error"].get("hint", "")))
        return BeingReady(f"{row['model']!r} is being made ready", f"ask again in {BeingReady.retry_after_s} seconds")

    # -- workers --------------------------------------------------------------------------------------------------

    def pending(self) -> Sequence[str]:
        """Names that ``work`` should be called with."""
        return [str(row["name"]) for row in pending(self.engine, self.workspace.name)]

    def needs(self, model: str) -> dict[str, Any]:
        """What it takes of the machine to make the model's export; nothing where that is there, or cannot be made."""
        try:
            meant = self.service.models.find(model)
            if meant.row is None or (meant.kind == "tuned" and meant.row["export"]):
                return {}
            artifact = meant.row["artifact"] if meant.kind == "checkpoint" else meant.row["model"]
            plan = Plan(**self.workspace.artifacts.manifest(artifact)["plan"])
        except (LuthierError, KeyError, ValueError):  # ``finish`` says why
            return {}
        memory = float(plan.estimates.get("memory_bytes", 0.0))  # of its training, which is more
        return {"memory_bytes": memory, "threads": plan.train.threads, "executor": plan.executor, "device": "cpu"}

    def work(self, name: str) -> bool:
        """Makes a deployment true: evaluates and exports what has no export, then deploys it. Blocks; whether this call did it."""
        token = self.claim(name)
        return bool(token) and self.finish(name, token)

    def finish(self, name: str, token: str) -> bool:
        """The same for who has claimed it; whether it was still theirs at the end."""
        stop = threading.Event()
        heart = threading.Thread(target=self._beat, args=(name, token, stop), daemon=True)
        heart.start()
        try:
            values = self._done(name, token)
        finally:
            stop.set()
            heart.join(timeout=1)
        return self._change(name, token, **values)

    def claim(self, name: str, admit: Callable[[Connection], dict[str, Any] | None] | None = None) -> str:
        """Takes a deployment; the token, or "". ``admit`` is asked in the same transaction, before anything else: see ``Tunings.claim``."""
        row = self._row(name)
        if row is None or row["state"] not in ("accepted", "creating") or not free(row, time.time()):
            return ""
        token = secrets.token_hex(8)
        same = (DEPLOYMENTS.c.state == row["state"], DEPLOYMENTS.c.lease_token == row["lease_token"])
        lease = {"state": "creating", "lease_owner": owner(), "lease_token": token, "lease_expires_at": time.time() + LEASE_S}
        with self.engine.begin() as connection:
            more = admit(connection) if admit is not None else {"needs": {}, "card": ""}
            if more is None:
                return ""
            done = connection.execute(update(DEPLOYMENTS).where(self._is(name), *same).values(**lease, **more))
        return token if done.rowcount == 1 else ""

    def _beat(self, name: str, token: str, stop: threading.Event) -> None:
        while not stop.wait(LEASE_S / 5):
            try:
                self._change(name, token, lease_expires_at=time.time() + LEASE_S)
            except Exception:
                LOG.exception("the lease of deployment %s could not be extended", name)

    def _change(self, name: str, token: str, **values: Any) -> bool:
        with self.engine.begin() as connection:
            held = (self._is(name), DEPLOYMENTS.c.lease_token == token)
            return bool(connection.execute(update(DEPLOYMENTS).where(*held).values(**values)).rowcount)

    def _done(self, name: str, token: str) -> dict[str, Any]:
        """Does the work; what the row says afterwards."""
        resting = {"lease_owner": "", "lease_token": "", "lease_expires_at": time.time() + WAIT_S}
        try:
            self._do(name, token)
        except (Conflict, NoSpace, Stopped) as error:
            LOG.info("deployment %s waits: %s", name, error.message)
            return resting | {"lease_expires_at": time.time() + WAIT_S}
        except LuthierError as error:
            return {"state": "failed", "error": error.as_json(), **FREE}
        except Exception as error:
            LOG.exception("deployment %s failed", name)
            said = {"code": "error", "message": type(error).__name__, "hint": "the server's log says more"}
            return {"state": "failed", "error": said, **FREE}
        return {"state": "succeeded", "error": {}, **FREE}

    def _do(self, name: str, token: str) -> None:
        row = self._row(name)
        if row is None:
            return
        export = self._export(self.service.models.find(row["model"]))
        if not name.startswith(".") and self._change(name, token, lease_expires_at=time.time() + LEASE_S):
            self.service.deploy(export, name, force=bool(row["properties"].get("force")))

    def _export(self, model: Model) -> Artifact:
        """The model's export, made where there is none."""
        if model.row is None:
            raise InputError(f"{model.name!r} has no model of ours behind it", "deploy a tuned model")
        service, known = self.service, model.row
        if model.kind == "tuned" and known["export"]:
            return service.artifact(known["export"])
        artifact = service.artifact(known["artifact"] if model.kind == "checkpoint" else known["model"])
        plan = Plan(**self.workspace.artifacts.manifest(artifact.id)["plan"])
        judged = known["evaluation"] if model.kind == "tuned" else ""
        evaluation = service.artifact(judged) if judged else service.evaluate(plan, artifact)
        export = service.export(plan, evaluation)
        self._keep(model, plan, {"model": artifact.id, "evaluation": evaluation.id, "export": export.id})
        return export

    def _keep(self, model: Model, plan: Plan, made: dict[str, str]) -> None:
        """Writes down what was made; a checkpoint becomes a tuned model of its own name."""
        this = and_(TUNED_MODELS.c.workspace == self.workspace.name, TUNED_MODELS.c.name == model.name)
        with self.engine.begin() as connection:
            if connection.execute(update(TUNED_MODELS).where(this).values(**made)).rowcount or model.kind != "checkpoint":
                return
            fresh = {"job": model.job, "base": model.base or plan.model, "task": plan.task, "created_at": time.time()}
            connection.execute(insert(TUNED_MODELS).values(workspace=self.workspace.name, name=model.name, **fresh, **made))


def pending(engine: Engine, workspace: str = "") -> Sequence[RowMapping]:
    """Deployments of a workspace, or of all, that nobody alive works on and that do not rest: new ones, and those whose worker is gone."""
    query = select(DEPLOYMENTS).where(DEPLOYMENTS.c.state.in_(("accepted", "creating"))).order_by(DEPLOYMENTS.c.created_at)
    if workspace:
        query = query.where(DEPLOYMENTS.c.workspace == workspace)
    now = time.time()
    with engine.connect() as connection:
        return [row for row in connection.execute(query).mappings() if free(row, now)]


def hidden_name(model: str) -> str:
    """The name of the row that makes a model ready which is asked by its own name."""
    return "." + hashlib.sha256(model.encode()).hexdigest()[:16]


def _deployment(row: Any, endpoint: RowMapping | None) -> dict[str, Any]:
    return {
        "id": row["name"],
        "object": "deployment",
        "name": row["name"],
        "model": row["model"],
        "state": row["state"],
        "error": row["error"] or None,
        "export": endpoint["export"] if endpoint is not None else "",
        "sku": dict(row["sku"]),
        "properties": dict(row["properties"]),
        "created_at": int(row["created_at"]),
    }
