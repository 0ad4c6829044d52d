"""Exports for deployments ask for room like jobs: they crowd no training, two small ones go on at once, and none waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from luthier.app import deploying, seats
from luthier.app.capacity import Capacity
from luthier.app.deploying import Deploying
from luthier.app.deployments import Deployments
from luthier.app.service import Service
from luthier.app.tunings import Tunings
from luthier.app.turns import Turns
from luthier.app.worker import Worker
from luthier.core.plan import Plan
from luthier.core.types import Artifact
from luthier.store.tables import DEPLOYMENTS, TUNED_MODELS

GIB = 2.0**30


@pytest.fixture
def tuned(service: Service, planned: Callable[..., Plan], stored: Callable[..., Artifact]) -> Callable[..., str]:
    """A tuned model; without an export it takes a core and as much memory as is said."""

    def make(name: str, *, exported: bool = False, gib: float = 1) -> str:
        plan = planned(train={"method": "dummy", "threads": 1})
        plan.executor, plan.estimates = "local", {"memory_bytes": gib * GIB}
        dataset = stored("dataset", plan=plan, name=name, of=name)
        model = stored("model", dataset, plan=plan, name=name, of=name)
        found = {"accuracy": {"value": 0.9, "higher_is_better": True}}
        evaluation = stored("evaluation", dataset, model, plan=plan, name=name, primary_metric="accuracy", scores=found)
        row = {"job": "ftjob-1", "base": "all-minilm-l6-v2", "task": "text-classification", "model": model.id, "evaluation": evaluation.id}
        row |= {"created_at": time.time(), "workspace": "default", "name": f"ft:m:luthier:{name}:1"}
        if exported:
            row["export"] = stored("export", dataset, model, evaluation, plan=plan, name=name).id
        with service.workspace.engine().begin() as connection:
            connection.execute(insert(TUNED_MODELS).values(**row))
        return str(row["name"])

    return make


@pytest.fixture
def exporting(monkeypatch: pytest.MonkeyPatch, stored: Callable[..., Artifact]) -> Iterator[list[str]]:
    """The models that are exported now; each goes on when it is taken out."""
    now: list[str] = []
    lock, over = threading.Lock(), threading.Event()

    def export(self: Service, plan: Plan, evaluation: Artifact, run: str = "") -> Artifact:
        now.append(evaluation.id)
        while evaluation.id in now and not over.is_set():
            time.sleep(0.01)
        artifacts = self.workspace.artifacts
        parents = [next(one for one in artifacts.lineage(evaluation.id) if one.kind == kind) for kind in ("dataset", "model")]
        with lock:
            return stored("export", *parents, evaluation, plan=plan, of=evaluation.id)

    monkeypatch.setattr(Service, "export", export)
    yield now
    over.set()


@pytest.fixture
def machine(service: Service) -> Iterator[Deploying]:
    capacity = Capacity()
    capacity.cores, capacity.memory_bytes, capacity.cards = 2, 8 * GIB, ()
    made = Deploying(service.workspace.engine(), str(service.workspace.root), capacity)
    yield made
    wait_until(lambda: not made.busy, lambda: None)


def wait_until(true: Callable[[], bool], meanwhile: Callable[[], Any]) -> None:
    end = time.monotonic() + 20
    while not true():
        meanwhile()
        assert time.monotonic() < end
        time.sleep(0.02)


def state(service: Service, name: str) -> str:
    return str(service.deployments.get(name)["state"])


def training(service: Service, threads: int, gib: float = 1) -> Callable[[], bool]:
    """A job that this machine runs; what ends it."""
    rows = Tunings(service.workspace.engine())
    row = {"id": "ftjob-1", "workspace": "default", "state": "queued", "model": "m", "training_file": "f", "seed": 1, "metadata": {}}
    token = rows.claim(rows.add(row | {"needs": {"threads": threads, "memory_bytes": gib * GIB}, "created_at": time.time()}))
    return lambda: rows.end("ftjob-1", token, "succeeded")


def test_two_small_ones_go_on_at_once_and_a_third_waits(
    service: Service, tuned: Callable[..., str], exporting: list[str], machine: Deploying
) -> None:
    for name in ("one", "two", "three"):
        service.deployments.put(name, tuned(name))
    machine.look()
    wait_until(lambda: len(exporting) == 2, machine.look)
    assert [state(service, name) for name in ("one", "two", "three")] == ["creating", "creating", "accepted"]
    exporting.pop(0)
    wait_until(lambda: state(service, "one") == "succeeded", lambda: None)
    wait_until(lambda: len(exporting) == 2, machine.look)
    exporting.clear()
    wait_until(lambda: not machine.busy, lambda: None)
    assert {state(service, name) for name in ("one", "two", "three")} == {"succeeded"}


def test_it_waits_for_a_training_and_a_training_for_it(
    service: Service, tuned: Callable[..., str], exporting: list[str], machine: Deploying
) -> None:
    end = training(service, threads=2)
    service.deployments.put("one", tuned("one"))
    machine.look()
    assert state(service, "one") == "accepted"
    assert not machine.busy
    assert end()
    machine.look()
    wait_until(lambda: len(exporting) == 1, lambda: None)
    rows = Tunings(service.workspace.engine())
    large = {"id": "ftjob-2", "workspace": "default", "state": "queued", "model": "m", "training_file": "f", "seed": 1, "metadata": {}}
    rows.add(large | {"needs": {"threads": 2}, "created_at": time.time()})
    turns = Turns(service.workspace.engine(), machine.capacity)
    assert turns.take() == []
    exporting.clear()
    wait_until(lambda: not machine.busy, lambda: None)
    ((row, _),) = turns.take()
    assert row["id"] == "ftjob-2"


def test_one_that_waited_long_takes_turns_with_a_training_if_there_is_memory(
    service: Service, tuned: Callable[..., str], exporting: list[str], machine: Deploying
) -> None:
    training(service, threads=2, gib=5)
    service.deployments.put("large", tuned("large", gib=4))
    service.deployments.put("one", tuned("one"))
    service.deployments.put("two", tuned("two"))
    with service.workspace.engine().begin() as connection:
        connection.execute(update(DEPLOYMENTS).values(created_at=time.time() - deploying.CROWDED_S - 1))
    machine.look()
    wait_until(lambda: len(exporting) == 1, machine.look)
    for _ in range(3):
        machine.look()
    assert [state(service, name) for name in ("large", "one", "two")] == ["accepted", "creating", "accepted"], "one at a time"
    exporting.clear()
    wait_until(lambda: state(service, "one") == "succeeded", lambda: None)


def test_what_is_exported_already_waits_for_nothing(service: Service, tuned: Callable[..., str], machine: Deploying) -> None:
    training(service, threads=2)
    name = tuned("one", exported=True)
    assert service.deployments.needs(name) == {}
    with service.workspace.engine().begin() as connection:
        for deployment, model in (("one", name), ("two", "ft:gone")):
            row = {"name": deployment, "model": model, "state": "accepted", "created_at": time.time()}
            connection.execute(insert(DEPLOYMENTS).values(workspace="default", **row))
    machine.look()
    wait_until(lambda: state(service, "one") == "succeeded", lambda: None)
    wait_until(lambda: state(service, "two") == "failed", lambda: None)


def test_what_an_export_takes_is_seen_by_every_worker_of_the_machine(
    service: Service, tuned: Callable[..., str], exporting: list[str], machine: Deploying
) -> None:
    service.deployments.put("one", tuned("one", gib=3))
    machine.look()
    wait_until(lambda: len(exporting) == 1, lambda: None)
    with service.workspace.engine().connect() as connection:
        (found,) = seats.taken(connection)
        assert connection.execute(select(DEPLOYMENTS.c.needs)).scalar() == service.deployments.needs("ft:m:luthier:one:1")
    assert (found["id"], found["job"], found["memory_bytes"], found["threads"]) == ("one", False, 3 * GIB, 1)
    exporting.clear()
    wait_until(lambda: not machine.busy, lambda: None)
    with service.workspace.engine().connect() as connection:
        assert seats.taken(connection) == []


def test_a_worker_that_ends_leaves_it_to_the_next(service: Service, tuned: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()

    def evaluate(self: Service, *_: Any, **__: Any) -> Artifact:
        begun.set()
        while not self._runner._stopping.is_set():
            time.sleep(0.01)
        self._runner._heed_stop("export")
        raise AssertionError

    monkeypatch.setattr(Service, "export", evaluate)
    service.deployments.put("one", tuned("one"))
    worker = Worker(str(service.workspace.root))
    thread = threading.Thread(target=worker.run)
    thread.start()
    assert begun.wait(20)
    worker.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert state(service, "one") == "creating"
    with service.workspace.engine().connect() as connection:
        row = connection.execute(select(DEPLOYMENTS)).mappings().one()
    assert (row["lease_token"], row["lease_owner"]) == ("", "")


def test_work_that_one_calls_oneself_counts_for_nothing(service: Service, tuned: Callable[..., str]) -> None:
    """``put`` of what is exported does it within the call, and asks nobody."""
    service.deployments.put("one", tuned("one", exported=True))
    assert state(service, "one") == "succeeded"
    assert isinstance(service.deployments, Deployments)
