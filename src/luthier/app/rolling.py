"""Decides on running canaries: the next step, all traffic, or back. Any number of workers may look; each move is made once.

A worker holds a rollout under a lease while it counts its answers. What decides is in the database and the journal, so that one that is
killed is replaced by the next that looks, which counts the present step's answers anew.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, RowMapping, select, update

from luthier.app.leases import LEASE_S, free, owner
from luthier.app.rollouts import Rollouts
from luthier.app.service import Service
from luthier.core.plan import RolloutPlan
from luthier.core.rollout import Look, alpha_of_look, look_due, move_after, version_name
from luthier.stages.watch.verdict import Finding, Step, judge
from luthier.store.rollout_tables import ROLLOUTS

LOG = logging.getLogger("luthier.worker")


class Rolling:
    """The canaries of every workspace, as one worker sees them. ``service``: the use cases of a workspace."""

    def __init__(self, engine: Engine, service: Callable[[str], Service], clock: Callable[[], float] = time.time) -> None:
        self.engine, self.clock = engine, clock
        self._service = service
        self._tokens: dict[str, str] = {}
        self._steps: dict[str, tuple[float, Step]] = {}

    def look(self) -> None:
        """Moves every rollout that may move now."""
        with self.engine.connect() as connection:
            rows = connection.execute(select(ROLLOUTS).where(ROLLOUTS.c.state == "running")).mappings().all()
        for row in rows:
            if self._held(row):
                self._decide(row)
        gone = set(self._tokens) - {str(row["id"]) for row in rows}
        for known in gone:
            self._tokens.pop(known, None)
            self._steps.pop(known, None)

    def _held(self, row: RowMapping) -> bool:
        """Whether the rollout is this worker's now; extends the lease, or takes a free one."""
        now, token = time.time(), self._tokens.get(row["id"], "")
        mine = bool(token) and token == row["lease_token"]
        if mine and row["lease_expires_at"] > now + LEASE_S / 2:
            return True
        if not mine and not free(row, now):
            return False
        token = token if mine else secrets.token_hex(8)
        lease = {"lease_owner": owner(), "lease_token": token, "lease_expires_at": now + LEASE_S}
        same = (ROLLOUTS.c.id == row["id"], ROLLOUTS.c.state == "running", ROLLOUTS.c.lease_token == row["lease_token"])
        with self.engine.begin() as connection:
            done = connection.execute(update(ROLLOUTS).where(*same).values(**lease)).rowcount == 1
        if done:
            self._tokens[row["id"]] = token
        return done

    def _decide(self, row: RowMapping) -> None:
        rules = RolloutPlan(**row["plan"])
        step = self._counted(row)
        candidate, against = step.of(version_name(row["candidate"])), step.of(version_name(row["against"]))
        look = look_due(
            candidate.asked,
            against.asked,
            least=rules.least_answers,
            next_look=row["next_look"],
            elapsed_s=self.clock() - row["step_at"],
            step_s=rules.step_s,
        )
        if look == "wait":
            return
        findings = judge(rules, candidate, against, alpha_of_look(rules.alpha, row["looks"]))
        self._move(row, look, findings, candidate.asked)

    def _counted(self, row: RowMapping) -> Step:
        """The present step's answers, as far as they are in the journal now."""
        at, step = self._steps.get(row["id"], (-1.0, Step("", 0.0)))
        if at != row["step_at"]:
            step = Step(row["endpoint"], row["step_at"])
            self._steps[row["id"]] = row["step_at"], step
        step.read(self._service(row["workspace"]).journal)
        return step

    def _move(self, row: RowMapping, look: Look, findings: list[Finding], asked: int) -> None:
        """Writes what follows, in one transaction and only if nothing moved meanwhile."""
        rollouts = Rollouts(self._service(row["workspace"]), self.clock)
        steps = row["plan"]["canary"]
        broken = [one for one in findings if one.broken]
        new, step = move_after(look, bool(broken), row["step"], len(steps))
        said = [one.as_json() for one in findings]
        reason = "; ".join(one.said for one in broken) or f"{asked} answers of {version_name(row['candidate'])} keep every rule"
        values: dict[str, Any] = {"looks": row["looks"] + 1, "next_look": 2 * asked, "decision": {"reason": reason, "findings": said}}
        onward = new == "running" and look == "last"
        if onward:
            values |= {"step": step, "step_at": self.clock(), "next_look": RolloutPlan(**row["plan"]).least_answers}
        same = [getattr(ROLLOUTS.c, name) == row[name] for name in ("id", "state", "step", "looks")]
        with rollouts.endpoints.changing(row["endpoint"]) as versions:
            held = (*same, ROLLOUTS.c.lease_token == self._tokens[row["id"]])
            if versions.connection.execute(update(ROLLOUTS).where(*held).values(**values)).rowcount != 1:
                return
            if onward:
                rollouts.step(versions, row, step, "running", reason, said)
            elif new != "running":
                rollouts.end(versions, row, new, reason, said)
        LOG.info("rollout of %s: %s, %s", row["endpoint"], new, reason)
