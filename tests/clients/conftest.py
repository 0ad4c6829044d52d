"""The one server that the tests of this folder share, also between the processes of ``pytest -n``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from environments import Unavailable, alone, environment
from world import World, serving


class Sharing:
    """A server that one test process runs and the others use: the first who comes starts it, and ends it when nobody uses it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.state, self.lock = folder, folder / "state.json", folder / "lock"

    def join(self) -> World | None:
        """The running server; ``None`` when there is none."""
        state = self._read()
        if not state.get("world"):
            return None
        self._write(state | {"users": state["users"] + 1})
        return World(*state["world"])

    def leave(self) -> None:
        with alone(self.lock):
            state = self._read()
            self._write(state | {"users": state["users"] - 1})

    def open(self, world: World) -> None:
        self._write({"world": world, "users": 0})

    def close(self) -> None:
        """Waits until nobody uses the server; nobody can join it afterwards."""
        while True:
            with alone(self.lock):
                if self._read()["users"] <= 0:
                    self._write({})
                    return
            time.sleep(0.2)

    def _read(self) -> dict:
        return json.loads(self.state.read_text()) if self.state.exists() else {}

    def _write(self, state: dict) -> None:
        self.state.write_text(json.dumps(state))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running server and what the scripts need beside it."""
    own = tmp_path_factory.getbasetemp()
    sharing = Sharing((own.parent if own.name.startswith("popen-") else own) / "clients")
    with alone(sharing.lock):
        found = sharing.join()
        if found is None:
            started = serving(tmp_path_factory.mktemp("serving"))
            sharing.open(mine := started.__enter__())
    if found is not None:
        yield found
        sharing.leave()
        return
    try:
        yield mine
        sharing.close()
    finally:
        started.__exit__(None, None, None)


@pytest.fixture
def client_environment(request: pytest.FixtureRequest) -> str:
    """The version that the test asks for, installed; else the test is skipped with the reason."""
    version = str(request.param)
    try:
        environment(version)
    except Unavailable as why:
        pytest.skip(str(why))
    return version
