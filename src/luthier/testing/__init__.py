"""The public checks that every plugin passes, ours and yours: ``luthier.testing.check("metrics", "kappa")``.

A check raises ``AssertionError`` with a sentence that says what is wrong. It makes its own small input; where a plugin needs other input
(a task with other columns, a format that no made file is in), give it as a keyword.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from luthier.core import registry
from luthier.core.errors import UnknownName
from luthier.testing.baselines import check_baseline
from luthier.testing.claim import ensure
from luthier.testing.executors import check_executor
from luthier.testing.formats import check_format
from luthier.testing.light import check_light
from luthier.testing.methods import check_method
from luthier.testing.metrics import check_metric
from luthier.testing.runtimes import check_runtime
from luthier.testing.sinks import check_sink
from luthier.testing.tasks import check_task

CHECKS: dict[str, Callable[..., None]] = {
    "tasks": check_task,
    "methods": check_method,
    "metrics": check_metric,
    "formats": check_format,
    "runtimes": check_runtime,
    "executors": check_executor,
    "sinks": check_sink,
    "baselines": check_baseline,
}
"""Room -> the check of its plugins."""

__all__ = [
    "CHECKS",
    "check",
    "check_baseline",
    "check_executor",
    "check_format",
    "check_light",
    "check_method",
    "check_metric",
    "check_runtime",
    "check_sink",
    "check_task",
]


def check(room: str, name: str, **given: Any) -> None:
    """Finds the plugin and checks it; ``given`` goes to the room's own check (``rows=``, ``path=``, ``tolerance=`` ...).

    Raises ``AssertionError`` with what is wrong, ``UnknownName`` when there is no such room or plugin.
    """
    if room not in CHECKS:
        raise UnknownName.among("room", room, CHECKS)
    plugin = registry.get(room, name)
    own = getattr(plugin, "name", "")
    ensure(own == name, f"{room}/{name}: the plugin calls itself {own!r}, but it is registered as {name!r}")
    check_light(room, name)
    CHECKS[room](plugin, **given)
