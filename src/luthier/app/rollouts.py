"""Brings a new version of an endpoint to its users in steps, or beside the old one, and back again: what people ask for."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, RowMapping, and_, insert, select, update

from luthier.app.admitting import admitted
from luthier.app.leases import FREE
from luthier.app.versions import Version, Versions, What, number_of
from luthier.core.errors import Conflict, InputError, SpecError, UnknownName
from luthier.core.events import EndpointDeployed, Event, RolloutMoved, TrafficMoved, VersionRemoved
from luthier.core.plan import RolloutPlan
from luthier.core.rollout import State, check_steps, may_move, version_name
from luthier.core.types import Artifact
from luthier.store.rollout_tables import ROLLOUTS
from luthier.store.tables import EVENTS

if TYPE_CHECKING:
    from luthier.app.service import Service

Findings = list[dict[str, Any]]
"""What each rule found: its numbers and a sentence."""

Events = list[Event]


class Rollouts:
    """The rollouts of one workspace. Every change of state is one transaction, together with its event."""

    def __init__(self, service: Service, clock: Callable[[], float] = time.time) -> None:
        self.service, self.clock = service, clock
        self.workspace = service.workspace.name
        self.endpoints = service.endpoints

    # -- looking --------------------------------------------------------------------------------------------------

    def get(self, endpoint: str) -> dict[str, Any]:
        """The endpoint's versions, its traffic, and its newest rollout; raises ``UnknownName``."""
        self.endpoints.get(endpoint)
        with self.endpoints.reading(endpoint) as versions:
            row = versions.connection.execute(self._newest(endpoint)).mappings().first()
            found = versions.all()
        return {
            "id": endpoint,
            "object": "endpoint.rollout",
            "endpoint": endpoint,
            "traffic": {one.name: one.traffic for one in found if one.traffic},
            "versions": [one.as_json() for one in found],
            "rollout": None if row is None else _shown(row),
        }

    def list(self) -> list[dict[str, Any]]:
        """The same of every endpoint, by name."""
        return [self.get(info.name) for info in self.endpoints.list()]

    def _newest(self, endpoint: str) -> Any:
        mine = and_(ROLLOUTS.c.workspace == self.workspace, ROLLOUTS.c.endpoint == endpoint)
        return select(ROLLOUTS).where(mine).order_by(ROLLOUTS.c.seq.desc()).limit(1)

    # -- beginning ------------------------------------------------------------------------------------------------

    def export_of(self, model: str) -> Artifact:
        """The export that a name means: a model's newest, or that of a tuned model; raises ``UnknownName``, ``GateRefused``."""
        try:
            return self.service.export_of(model)
        except UnknownName:
            row = self.service.models.find(model).row
            if row is None or not row.get("export"):
                reason = f"{model!r} has no export yet"
                raise Conflict(reason, "luthier export makes it; so does deploying it under a name of its own") from None
            return self.service.artifact(row["export"])

    def start(self, export: Artifact, endpoint: str, wish: RolloutPlan, *, force: bool = False) -> dict[str, Any]:
        """Opens an export as a version beside the one that answers, if the gate passes: a canary with ``wish.canary``, else a version
        without traffic (a green one; ``wish.mirror`` gives it copies). The first version of an endpoint gets all traffic at once.

        Raises ``GateRefused``, ``Conflict`` while another rollout runs, ``InputError``.
        """
        steps = check_steps(wish.canary) if wish.canary else []
        if steps and wish.mirror:
            raise InputError("mirror: a canary answers for itself", "mirror first, and begin the canary then")
        if endpoint not in {info.name for info in self.endpoints.list()}:
            self.service.deploy(export, endpoint, force=force)
            return self.get(endpoint)
        what, _ = admitted(self.service, export, endpoint, force=force)
        with self.endpoints.changing(endpoint) as versions:
            versions.refuse_rollout()
            before = versions.current()
            self._fits(what, before, endpoint)
            traffic = {one.name: one.traffic for one in versions.all()}
            new = versions.open(what, mirror=wish.mirror)
            if steps:
                self._begin(versions, new, before, wish, steps)
            else:
                said = TrafficMoved(endpoint=endpoint, traffic=_some(traffic), mirror=_some({new.name: wish.mirror}), by="deploy")
                self.write(versions.connection, [said])
        return self.get(endpoint)

    def _fits(self, what: What, before: Version, endpoint: str) -> None:
        if what.export == before.export_id:
            raise Conflict(f"{endpoint!r} answers with {what.export} already", "name another model")
        if what.task != before.what.task:
            raise SpecError(
                "model", f"does {what.task}, and {endpoint!r} does {before.what.task}", "deploy it whole, or under another name"
            )

    def _begin(self, versions: Versions, new: Version, before: Version, wish: RolloutPlan, steps: Sequence[int]) -> None:
        now = self.clock()
        plan = {**wish.model_dump(mode="json", include=set(RolloutPlan.model_fields)), "canary": [*steps]}
        row: dict[str, Any] = {"id": f"rollout-{secrets.token_hex(6)}", "workspace": self.workspace, "endpoint": versions.endpoint}
        row |= {"candidate": number_of(new.name), "against": number_of(before.name), "state": "running", "plan": plan}
        row |= {"step": 0, "step_at": now, "looks": 0, "next_look": wish.least_answers, "created_at": now}
        versions.connection.execute(insert(ROLLOUTS).values(**row))
        if steps[0] == 100:
            self.end(versions, row, "promoted", "the only step has all traffic", [])
            return
        self.step(versions, row, 0, "", "", [])

    # -- moves, within a transaction ------------------------------------------------------------------------------

    def step(self, versions: Versions, row: Any, step: int, old: str, reason: str, findings: Findings) -> None:
        """The candidate gets the share of a step."""
        share = row["plan"]["canary"][step]
        candidate, against = version_name(row["candidate"]), version_name(row["against"])
        table = versions.share({against: 100 - share, candidate: share})
        self.write(
            versions.connection,
            [
                TrafficMoved(endpoint=versions.endpoint, traffic=table, by="rollout"),
                self._moved(row, old, "running", share, reason, findings),
            ],
        )

    def end(self, versions: Versions, row: Any, new: State, reason: str, findings: Findings) -> None:
        """The rollout ends: its candidate has everything, or nothing and is closed."""
        if not may_move(row["state"], new):
            raise Conflict(f"the rollout of {versions.endpoint!r} is {row['state']}", "begin another one: luthier deploy --canary")
        won = new == "promoted"
        winner = version_name(row["candidate"] if won else row["against"])
        values = {"state": new, "finished_at": self.clock(), "decision": {"reason": reason, "findings": findings}, **FREE}
        if won:
            values["step"] = len(row["plan"]["canary"]) - 1
        versions.connection.execute(update(ROLLOUTS).where(ROLLOUTS.c.id == row["id"]).values(**values))
        table = versions.share({winner: 100}, retire=True)
        now = versions.get(winner)
        said: Events = [
            TrafficMoved(endpoint=versions.endpoint, traffic=table, by="rollout"),
            self._moved(row, "running", new, 100 if won else 0, reason, findings),
        ]
        if won:
            said.append(EndpointDeployed(endpoint=versions.endpoint, export=now.export_id, model=now.what.model))
        self.write(versions.connection, said)

    def _moved(self, row: Any, old: str, new: str, share: int, reason: str, findings: Findings) -> RolloutMoved:
        said = {"endpoint": row["endpoint"], "rollout": row["id"], "old": old, "new": new, "share": share, "reason": reason}
        pair = {"candidate": version_name(row["candidate"]), "against": version_name(row["against"])}
        return RolloutMoved.model_validate(said | pair | {"findings": findings})

    def write(self, connection: Connection, events: Sequence[Event]) -> None:
        """Journals what the transaction does."""
        connection.execute(insert(EVENTS), self.service.journal.rows(events))

    # -- what people decide ---------------------------------------------------------------------------------------

    def promote(self, endpoint: str) -> dict[str, Any]:
        """Gives the running rollout's candidate all traffic now; raises ``Conflict`` when none runs."""
        return self._by_hand(endpoint, "promoted", "promoted by a person")

    def abort(self, endpoint: str) -> dict[str, Any]:
        """Gives all traffic back to the version before, and closes the candidate once it has answered what it had queued."""
        return self._by_hand(endpoint, "aborted", "aborted by a person")

    def _by_hand(self, endpoint: str, new: State, reason: str) -> dict[str, Any]:
        self.endpoints.get(endpoint)
        with self.endpoints.changing(endpoint) as versions:
            row = versions.connection.execute(self._newest(endpoint)).mappings().first()
            if row is None or row["state"] != "running":
                said = "has no rollout" if row is None else f"has no running rollout: the last one is {row['state']}"
                raise Conflict(f"{endpoint!r} {said}", f"luthier deploy MODEL -e {endpoint} --canary 5,25,100")
            self.end(versions, row, new, reason, [])
        return self.get(endpoint)

    def back(self, endpoint: str) -> dict[str, Any]:
        """Makes the endpoint answer with the version before the present one; a running rollout is aborted. Raises ``Conflict``: none."""
        self.endpoints.get(endpoint)
        with self.endpoints.changing(endpoint) as versions:
            row = versions.connection.execute(self._newest(endpoint)).mappings().first()
            if row is not None and row["state"] == "running":
                self.end(versions, row, "aborted", "rolled back by a person", [])
            else:
                now = versions.current()
                if not now.replaces:
                    raise Conflict(f"{endpoint!r} had no version before {now.name}", "luthier rollout status shows its versions")
                self._to(versions, versions.get(now.replaces))
        return self.get(endpoint)

    def _to(self, versions: Versions, old: Version) -> None:
        versions.set(old.name, state="open")
        table = versions.share({old.name: 100}, retire=True)
        moved = TrafficMoved(endpoint=versions.endpoint, traffic=table)
        self.write(versions.connection, [moved, EndpointDeployed(endpoint=versions.endpoint, export=old.export_id, model=old.what.model)])

    def traffic(self, endpoint: str, table: Mapping[str, int]) -> dict[str, Any]:
        """Shares the traffic among open versions by hand. Raises ``InputError`` with the sum when that is not 100, ``Conflict``."""
        self.endpoints.get(endpoint)
        with self.endpoints.changing(endpoint) as versions:
            versions.refuse_rollout()
            said = versions.share(table)
            mirror = {one.name: one.mirror for one in versions.all()}
            self.write(versions.connection, [TrafficMoved(endpoint=endpoint, traffic=said, mirror=_some(mirror))])
        return self.get(endpoint)

    def remove(self, endpoint: str, version: str) -> dict[str, Any]:
        """Closes a version and forgets it; raises ``Conflict`` while it holds traffic or a rollout runs."""
        self.endpoints.get(endpoint)
        with self.endpoints.changing(endpoint) as versions:
            one = versions.get(version)
            if not one.traffic:
                versions.refuse_rollout()
            versions.remove(version)
            self.write(versions.connection, [VersionRemoved(endpoint=endpoint, version=version, export=one.export_id)])
        return self.get(endpoint)

    def refuse_running(self, endpoint: str) -> None:
        """Raises ``Conflict`` while a rollout of the endpoint runs."""
        with self.endpoints.reading(endpoint) as versions:
            versions.refuse_rollout()


def _some(table: Mapping[str, int]) -> dict[str, int]:
    return {name: share for name, share in table.items() if share}


def _shown(row: RowMapping) -> dict[str, Any]:
    steps = row["plan"]["canary"]
    return {
        "id": row["id"],
        "state": row["state"],
        "candidate": version_name(row["candidate"]),
        "against": version_name(row["against"]),
        "steps": steps,
        "step": row["step"],
        "share": {"running": steps[row["step"]], "promoted": 100}.get(row["state"], 0),
        "step_at": int(row["step_at"]),
        "plan": dict(row["plan"]),
        "decision": dict(row["decision"]),
        "created_at": int(row["created_at"]),
        "finished_at": int(row["finished_at"]) or None,
    }
