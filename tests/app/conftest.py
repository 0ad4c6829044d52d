"""A service in an empty workspace, what a person would have written, and stored artifacts that no stage had to make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.app.files import Files
from luthier.app.service import Service
from luthier.core.events import Event
from luthier.core.plan import Plan
from luthier.core.spec import make_spec
from luthier.core.types import Artifact
from luthier.store import files
from luthier.store.workspace import Workspace


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("LUTHIER_HOME", raising=False)
    monkeypatch.delenv("LUTHIER_DATABASE", raising=False)


@pytest.fixture
def events() -> list[Event]:
    """What the service said, in order."""
    return []


@pytest.fixture
def service(tmp_path: Path, events: list[Event]) -> Service:
    return Service(tmp_path / "home", sinks=[events.append])


@pytest.fixture
def store(tmp_path: Path) -> Files:
    """The files of an empty workspace."""
    return Files(Workspace(tmp_path / "home"))


@pytest.fixture
def messages(tmp_path: Path) -> Path:
    """Thirty labelled messages."""
    path = tmp_path / "messages.csv"
    rows = [f"message number {number} about {label},{label}" for label in ("refund", "parcel", "account") for number in range(10)]
    path.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def planned(service: Service, messages: Path) -> Callable[..., Plan]:
    """A plan on the messages by the executor that runs nothing; keywords are sections."""

    def make(**given: Any) -> Plan:
        data = {"train": str(messages)} | given.pop("data", {})
        return service.plan(make_spec({"name": "try", "executor": "dummy", "data": data, "train": {"method": "dummy"}} | given))

    return make


@pytest.fixture
def stored(service: Service) -> Callable[..., Artifact]:
    """An artifact of the given kind and content in the service's store."""

    def make(kind: str, *parents: Artifact, plan: Plan | None = None, name: str = "try", **content: Any) -> Artifact:
        folder = service.workspace.work / f"by-hand-{kind}-{len(service.workspace.artifacts.all())}"
        files.write_json(folder / f"{kind}.json", content)
        ids = tuple(parent.id for parent in parents)
        return service.workspace.artifacts.add(folder, kind, parents=ids, name=name, plan=plan.model_dump(mode="json") if plan else {})

    return make
