"""A listening server with a tuned model, a checkpoint without an export, and a deployment, for the tests that ask by OpenAI's client."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from openai import AzureOpenAI, OpenAI
from sqlalchemy import insert

from luthier.api import create_app
from luthier.app.service import Service
from luthier.core.plan import Plan
from luthier.store import files
from luthier.store.tables import CHECKPOINTS, TUNED_MODELS

TUNED = "ft:all-minilm-l6-v2:luthier:desk:0123456789ab"


@dataclass
class Live:
    """A running server. ``tuned`` and ``step`` are names of models, ``deployed`` of a deployment of ``tuned``."""

    address: str
    app: Any
    service: Service
    folder: Path
    tuned: str = TUNED
    step: str = f"{TUNED}:ckpt-step-40"
    deployed: str = "support"

    def openai(self, **options: Any) -> OpenAI:
        """The client, which asks once only."""
        return OpenAI(**{"base_url": f"{self.address}/v1", "api_key": "any", "max_retries": 0} | options)

    def azure(self, **options: Any) -> AzureOpenAI:
        """Azure's."""
        given = {"azure_endpoint": self.address, "api_version": "2024-10-21", "api_key": "any", "max_retries": 0}
        return AzureOpenAI(**given | options)


def _tuned(service: Service, folder: Path) -> None:
    """The exported folder as artifacts, and the rows that a job would have written."""
    work = service.workspace.work
    plan = Plan(name="desk", task="text-classification", model="all-minilm-l6-v2", executor="dummy").model_dump(mode="json")
    scores = {"scores": {"accuracy": {"value": 0.9}}, "primary_metric": "accuracy"}
    made: dict[str, Any] = {}
    for kind, content in (("dataset", {"rows": 3}), ("model", {"weights": 1}), ("evaluation", scores)):
        files.write_json(work / f"by-hand-{kind}" / f"{kind}.json", content)
        parents = tuple(artifact.id for artifact in made.values())
        made[kind] = service.workspace.artifacts.add(work / f"by-hand-{kind}", kind, parents=parents, plan=plan)
    shutil.copytree(folder, work / "by-hand-export")
    made["export"] = service.workspace.artifacts.add(
        work / "by-hand-export", "export", parents=tuple(artifact.id for artifact in made.values()), plan=plan
    )
    mine = {"workspace": "default", "job": "ftjob-1", "created_at": time.time()}
    behind = {kind: made[kind].id for kind in ("model", "evaluation", "export")}
    row = mine | behind | {"name": TUNED, "base": "all-minilm-l6-v2", "task": "text-classification"}
    step = mine | {"id": "ftckpt_1", "name": f"{TUNED}:ckpt-step-40", "artifact": made["model"].id, "step": 40, "metrics": {}}
    with service.workspace.engine().begin() as connection:
        connection.execute(insert(TUNED_MODELS).values(**row))
        connection.execute(insert(CHECKPOINTS).values(**step))


@pytest.fixture(scope="module")
def live(export_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The server, one a test file."""
    service = Service(tmp_path_factory.mktemp("live") / "home")
    _tuned(service, export_folder)
    service.deployments.put("support", TUNED)
    app = create_app(service, workers=1)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        yield Live(f"http://127.0.0.1:{listener.getsockname()[1]}", app, service, export_folder)
        server.should_exit = True
        thread.join(20)
