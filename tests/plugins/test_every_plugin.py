"""Every plugin that is registered here passes the public checks."""

from __future__ import annotations

from typing import Any

import pytest

from luthier import testing
from luthier.core import registry
from luthier.core.errors import UnknownName
from luthier.testing import made

GIVEN: dict[tuple[str, str], dict[str, Any]] = {
    ("tasks", "preference"): {"rows": [{**row, "messages": row["messages"][:1]} for row in made.rows()]},
    ("runtimes", "onnx"): {"tolerance": 1e-4},
    ("runtimes", "dummy"): {"tolerance": 1.0},
}
"""What a check needs to know of a plugin: fp32 must be close to torch; the dummy answers zeros and says so; made conversations hold their
answers.
"""


def _every() -> list[Any]:
    return [pytest.param(room, name, id=f"{room}/{name}") for room in registry.ROOMS for name in registry.names(room)]


@pytest.mark.parametrize(("room", "name"), _every())
def test_plugin_keeps_its_promises(room: str, name: str) -> None:
    testing.check(room, name, **GIVEN.get((room, name), {}))
    if room == "runtimes" and (why := registry.get(room, name).missing()):
        pytest.skip(f"only its shape was checked: {why}")


def test_every_room_has_a_check() -> None:
    assert testing.CHECKS.keys() == registry.ROOMS.keys()
    assert all(registry.names(room) for room in registry.ROOMS)


def test_unknown_rooms_and_plugins_are_named() -> None:
    with pytest.raises(UnknownName, match="'metric'") as found:
        testing.check("metric", "accuracy")
    assert "'metrics'" in found.value.hint
    with pytest.raises(UnknownName, match="'acuracy'"):
        testing.check("metrics", "acuracy")
