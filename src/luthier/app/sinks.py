"""Opens sinks as people name them, ``name:target``, so that none of them can fail a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from luthier.core import registry
from luthier.core.events import Event, NoteSaid
from luthier.core.ports import Emit
from luthier.sinks._careful import Careful


def opened(texts: Sequence[str], emit: Emit) -> list[Callable[[Event], None]]:
    """A function for each ``name`` or ``name:target``; ``emit`` gets the warning when one of them fails.

    Raises ``UnknownName``, ``InputError`` (the target cannot be read) and ``MissingExtra``, before anything runs.
    """
    found = []
    for text in texts:
        name, _, target = text.partition(":")
        found.append(careful(name, target, partial(_warn, emit)))
    return found


def careful(name: str, target: str, say: Callable[[str], None]) -> Callable[[Event], None]:
    """The sink of that name, opened; ``say`` is told a sentence when it fails for the first time."""
    take = registry.get("sinks", name).open(target)
    if isinstance(take, Careful):
        take.say = say
        return take
    return Careful(name, take, say)


def _warn(emit: Emit, text: str) -> None:
    emit(NoteSaid(level="warning", text=text))
