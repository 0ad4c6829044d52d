"""What every sink promises: it takes any event there is, with any text in it, from any thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from luthier.core.errors import MissingExtra
from luthier.core.events import Event
from luthier.core.ports import Sink
from luthier.testing import made
from luthier.testing.claim import checks, ensure
from luthier.testing.shape import check_shape


@checks
def check_sink(plugin: Any, target: str = "") -> None:
    """``target``: what follows the sink's name; by default a path in a temporary folder."""
    check_shape(plugin, Sink)
    try:
        take = plugin.open(target or str(made.folder() / "events"))
    except MissingExtra:
        return  # only its shape could be checked
    ensure(callable(take), f"{plugin.name}: open gives a {type(take).__name__}, not a function that takes events")

    def told(event: Event) -> None:
        before = event.model_copy(deep=True)
        try:
            take(event)
        except Exception as error:
            raise AssertionError(f"{plugin.name}: raised {type(error).__name__} for {event.as_json()}: {error}") from error
        ensure(event == before, f"{plugin.name}: changes the event {event.name}, which other sinks read too")

    for event in made.events():
        told(event)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(told, list(made.events()) * 2))
