"""Endpoints that go from one version to another: traffic, canaries decided by a fake clock, ways back, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.app.rolling import Rolling
from luthier.app.service import Service
from luthier.core.errors import Conflict, GateRefused, InputError, UnknownName
from luthier.core.events import PredictionAnswered, PredictionFailed
from luthier.core.plan import RolloutPlan
from luthier.store.rollout_tables import ROLLOUTS
from versions import export

CANARY = RolloutPlan(canary=[5, 25, 100], step_s=600, least_answers=50)


class Desk:
    """An endpoint ``support`` with v1 (and an export for v2), a clock, and workers that decide."""

    def __init__(self, service: Service) -> None:
        self.service, self.now = service, 1000.0
        self.old, self.new = export(service, "parcel"), export(service, "refund")
        service.deploy(self.old, "support")
        self.rollouts = service.rollouts
        self.rollouts.clock = self.clock
        self.rolling = self.worker()

    def clock(self) -> float:
        return self.now

    def worker(self) -> Rolling:
        return Rolling(self.service.workspace.engine(), lambda _: self.service, self.clock)

    def answers(self, version: str, count: int, failed: int = 0) -> None:
        said = {"endpoint": "support", "export": "e", "output": "refund", "confidence": 0.9, "version": version, "at": self.now}
        good = [PredictionAnswered.model_validate(said | {"id": str(n), "latency_ms": 5.0 + n % 7}) for n in range(count)]
        bad = [PredictionFailed(endpoint="support", code="error", message="x", version=version, at=self.now) for _ in range(failed)]
        self.service.journal.append([*good, *bad])

    def after(self, seconds: float) -> dict[str, Any]:
        self.now += seconds
        self.rolling.look()
        return self.state()

    def state(self) -> dict[str, Any]:
        found = self.rollouts.get("support")
        return found["traffic"] | {"state": (found["rollout"] or {}).get("state", "")}

    def moves(self) -> list[tuple[str, str, int]]:
        entries = self.service.journal.all(names=("rollout.moved",))
        return [(entry.body["old"], entry.body["new"], entry.body["share"]) for entry in entries]


@pytest.fixture
def desk(service: Service) -> Desk:
    return Desk(service)


def test_a_canary_goes_up_step_by_step_and_is_promoted(desk: Desk) -> None:
    desk.rollouts.start(desk.new, "support", CANARY)
    assert desk.state() == {"v1": 95, "v2": 5, "state": "running"}
    desk.answers("v1", 500)
    desk.answers("v2", 49)
    assert desk.after(10_000) == {"v1": 95, "v2": 5, "state": "running"}, "too few answers: the step goes on"
    desk.answers("v2", 1)
    assert desk.after(0) == {"v1": 75, "v2": 25, "state": "running"}
    assert desk.after(10_000) == {"v1": 75, "v2": 25, "state": "running"}, "each step counts its own answers"
    desk.answers("v1", 200)
    desk.answers("v2", 60)
    assert desk.after(1) == {"v2": 100, "state": "promoted"}
    assert desk.service.endpoints.get("support").export_id == desk.new.id
    assert desk.moves() == [("", "running", 5), ("running", "running", 25), ("running", "promoted", 100)]
    versions = {one["name"]: one for one in desk.rollouts.get("support")["versions"]}
    assert (versions["v1"]["state"], versions["v2"]["replaces"]) == ("retired", "v1")


def test_a_canary_that_fails_is_sent_back_before_its_step_ends(desk: Desk) -> None:
    desk.rollouts.start(desk.new, "support", CANARY)
    desk.answers("v1", 900)
    desk.answers("v2", 35, failed=15)
    assert desk.after(5) == {"v1": 100, "state": "rolled_back"}
    assert desk.service.endpoints.get("support").export_id == desk.old.id
    decision = desk.rollouts.get("support")["rollout"]["decision"]
    assert decision["reason"].startswith("errors 0.3000 (15 of 50) against 0.0000 (0 of 900), 0.0100 more allowed, p ")
    assert {one["rule"] for one in decision["findings"]} == {"errors", "p95", "confidence", "drift", "satisfaction"}
    (*_, last) = desk.service.journal.all(names=("rollout.moved",))
    assert last.body["findings"] == decision["findings"]
    again = desk.rollouts.start(desk.new, "support", CANARY)
    assert again["traffic"] == {"v1": 95, "v2": 5}, "the same export is the same version"


def test_two_workers_decide_once_and_one_that_is_gone_is_replaced(desk: Desk) -> None:
    desk.rollouts.start(desk.new, "support", CANARY)
    desk.answers("v1", 500)
    desk.answers("v2", 60)
    other = desk.worker()
    desk.rolling.look()
    other.look()
    assert other._tokens == {}, "the first one holds the lease"
    engine = desk.service.workspace.engine()
    with engine.begin() as connection:
        connection.execute(ROLLOUTS.update().values(lease_expires_at=0.0))
    desk.now += 600
    other.look()
    assert desk.state() == {"v1": 75, "v2": 25, "state": "running"}
    desk.answers("v1", 500)
    desk.answers("v2", 60)
    desk.now += 600
    desk.rolling.look()  # its token is void
    assert desk.state() == {"v1": 75, "v2": 25, "state": "running"}
    other.look()
    assert len(desk.moves()) == 3


def test_people_promote_abort_and_go_back(desk: Desk) -> None:
    desk.rollouts.start(desk.new, "support", CANARY)
    assert desk.rollouts.abort("support")["traffic"] == {"v1": 100}
    with pytest.raises(Conflict, match="the last one is aborted"):
        desk.rollouts.promote("support")
    desk.rollouts.start(desk.new, "support", CANARY)
    assert desk.rollouts.promote("support")["traffic"] == {"v2": 100}
    assert desk.rollouts.back("support")["traffic"] == {"v1": 100}
    assert desk.service.endpoints.get("support").export_id == desk.old.id
    with pytest.raises(Conflict, match="no version before v1"):
        desk.rollouts.back("support")


def test_blue_and_green(desk: Desk) -> None:
    assert desk.rollouts.start(desk.new, "support", RolloutPlan(mirror=50))["traffic"] == {"v1": 100}
    with pytest.raises(InputError, match="sum to 90"):
        desk.rollouts.traffic("support", {"v1": 50, "v2": 40})
    with pytest.raises(UnknownName, match="v9"):
        desk.rollouts.traffic("support", {"v9": 100})
    found = desk.rollouts.traffic("support", {"v2": 100})
    assert {one["name"]: (one["state"], one["traffic"], one["mirror"]) for one in found["versions"]} == {
        "v1": ("open", 0, 0),
        "v2": ("open", 100, 0),
    }
    assert desk.service.endpoints.get("support").export_id == desk.new.id
    assert desk.rollouts.back("support")["traffic"] == {"v1": 100}


def test_a_version_with_traffic_is_not_removed(desk: Desk) -> None:
    desk.rollouts.start(desk.new, "support", RolloutPlan())
    desk.rollouts.traffic("support", {"v1": 80, "v2": 20})
    with pytest.raises(Conflict, match="v2 of 'support' holds 20 %"):
        desk.rollouts.remove("support", "v2")
    desk.rollouts.traffic("support", {"v1": 100})
    assert [one["name"] for one in desk.rollouts.remove("support", "v2")["versions"]] == ["v1"]


def test_what_a_running_rollout_refuses(desk: Desk) -> None:
    desk.rollouts.start(desk.new, "support", CANARY)
    third = export(desk.service, "account")
    for change in (
        lambda: desk.rollouts.start(third, "support", CANARY),
        lambda: desk.rollouts.traffic("support", {"v1": 100}),
        lambda: desk.service.deploy(third, "support"),
        lambda: desk.service.deployments.delete("support"),
    ):
        with pytest.raises(Conflict, match="rollout of 'support' to v2 is running"):
            change()
    assert desk.state() == {"v1": 95, "v2": 5, "state": "running"}


def test_the_gate_stays(desk: Desk) -> None:
    with pytest.raises(GateRefused, match=r"0\.800 against 0\.900"):
        desk.rollouts.start(export(desk.service, "account", accuracy=0.8), "support", CANARY)
    with pytest.raises(Conflict, match="already"):
        desk.rollouts.start(desk.old, "support", CANARY)
    with pytest.raises(InputError, match="mirror"):
        desk.rollouts.start(desk.new, "support", RolloutPlan(canary=[5], mirror=5))


def test_a_plain_deployment_is_a_version_too(desk: Desk) -> None:
    desk.service.deploy(desk.new, "support")
    assert desk.rollouts.get("support")["traffic"] == {"v2": 100}
    assert desk.rollouts.back("support")["traffic"] == {"v1": 100}
    desk.service.undeploy("support")
    with pytest.raises(UnknownName):
        desk.rollouts.get("support")
