"""Fixtures that several rooms' tests share; made once a test process."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _one_core_each() -> None:
    """With ``pytest -n``, a worker and all that it starts keep to one core: two stages of two threads each would wait for each other."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and hasattr(os, "sched_setaffinity"):
        mine = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {mine[int(worker.removeprefix("gw")) % len(mine)]})


_one_core_each()

LONG = ("walk", "clients", "stages/train", "stages/evaluate", "runtimes", "plugins", "api", "app")
"""Whose files take longest: with ``--dist loadfile`` they are begun first, so that no process is left with a long one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; within a file the order stays."""
    root = Path(__file__).parent
    rooms = [next((n for n, room in enumerate(LONG) if item.path.is_relative_to(root / room)), len(LONG)) for item in items]
    items[:] = [item for _, item in sorted(zip(rooms, items, strict=True), key=lambda pair: pair[0])]


def _beside(name: str) -> ModuleType:
    """A module of this folder, loaded once (pytest's ``importlib`` mode puts no folder on the path)."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


postgres, postgres_url = _beside("postgres").postgres, _beside("postgres").postgres_url
receiver = _beside("receiver").receiver
for shared in ("chats", "older", "versions", "worded"):  # for tests that import from them
    _beside(shared)


@pytest.fixture(scope="session")
def exported() -> ModuleType:
    """The makers in ``tests/exported.py``."""
    return _beside("exported")


@pytest.fixture(scope="session")
def filled() -> ModuleType:
    """``tests/filled.py``: ``fill(home)`` makes a workspace that looks lived in."""
    return _beside("filled")


@pytest.fixture(scope="session")
def records(filled: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An HTTP client of a server over such a workspace; ``records.service`` is its service. To read from, not to change."""
    from starlette.testclient import TestClient

    from luthier.api import create_app

    service = filled.fill(tmp_path_factory.mktemp("records") / "home")
    with TestClient(create_app(service, workers=1), raise_server_exceptions=False) as client:
        client.service = service  # type: ignore[attr-defined]
        yield client


@pytest.fixture(scope="session")
def export_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list]:
    """A finished export of a two-layer model to fp32 and int8: its job's folder, and the events it said."""
    from luthier.stages import export

    root = tmp_path_factory.mktemp("export")
    job = _beside("exported").export_job(root, layers=2, rows=320, max_label_change=1.0, max_metric_loss=1.0)
    events: list = []
    summary = export.run(job, events.append)
    (root / "summary.json").write_text(__import__("json").dumps(summary))
    (root / "job.json").write_text(job.model_dump_json())
    return root, events


@pytest.fixture(scope="session")
def export_folder(export_run: tuple[Path, list]) -> Path:
    """An exported folder that can be served."""
    return export_run[0] / "work" / "out"
