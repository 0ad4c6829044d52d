"""The whole measurement: one connection alone, steps up to saturation, a search between, and what may be said of the result."""

from __future__ import annotations

import asyncio
import os
import selectors
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from luthier.client.connection import loopback
from luthier.client.failures import failure
from luthier.client.load.climb import Climb
from luthier.client.load.line import Line, Target
from luthier.client.load.objective import ERRORS, QUANTILES, Objective
from luthier.client.load.step import Generator, Step
from luthier.core.errors import NotPossible

STEPS = 12
"""Parts of the whole time: about so many steps are needed."""
SHORTEST_S, LONGEST_S = 0.2, 30.0
ALONE_S = 1.0
FEW = 10
"""A quantile is decided by chance when fewer requests than this lie above it."""

Tell = Callable[[str, "Step | None", float], None]
"""Gets what is done now, the step that has just ended (None: one begins), and about how many seconds are left."""


@dataclass
class Load:
    """What was measured. ``limited_by``: ``server``, ``generator``, ``time`` (the search did not end) or ``stopped`` (by a person)."""

    endpoint: str
    url: str
    clients: int
    wanted: list[Objective]
    seed: int
    step_s: float = 0.0
    alone_s: float = 0.0
    steps: list[Step] = field(default_factory=list)
    best: float = 0.0
    confirmed: bool = False
    limited_by: str = "time"

    def notes(self) -> list[str]:
        """What a reader must know to believe the result, in sentences."""
        said = []
        if self.limited_by == "generator":
            said.append("the generator could not keep its own times at the next load: the server may carry more; ask from another machine")
        if self.limited_by == "time":
            said.append("the time was over before the search was: the limit may be higher (--duration-s)")
        if self.limited_by == "stopped":
            said.append("stopped by hand: the limit may be higher")
        if self.best and not self.confirmed:
            said.append("the best load was tried once only")
        if any(step.queued > step.requests / 2 for step in self.steps if step.missed(self.wanted)):
            said.append(f"where the objective was missed all {self.clients} connections were busy; more may carry more (--clients)")
        few = {one.name for step in self.steps for one in self.wanted if step.rate == self.best and _few(one, step)}
        if few:
            said.append(f"at the best load {' and '.join(sorted(few))} rests on a few requests: a longer --duration-s is surer")
        if loopback(self.url.split("//")[-1].rsplit(":", 1)[0].strip("[]")):
            said.append(f"the generator and the server shared this machine's {os.cpu_count()} cores")
        return said

    def as_json(self) -> dict[str, Any]:
        """Everything, for ``--json``."""
        head = {"endpoint": self.endpoint, "url": self.url, "clients": self.clients, "objectives": [str(one) for one in self.wanted]}
        head |= {"seed": self.seed, "step_s": round(self.step_s, 3), "alone_ms": round(1e3 * self.alone_s, 3)}
        most = max((step.answered_per_s for step in self.steps), default=0.0)
        found = {"best_per_s": round(self.best, 3), "confirmed": self.confirmed, "limited_by": self.limited_by}
        found |= {"most_answered_per_s": round(most, 3)}
        return {**head, **found, "notes": self.notes(), "steps": [step.as_json(self.wanted) for step in self.steps]}


def _few(one: Objective, step: Step) -> bool:
    return one.name != ERRORS and step.requests * (1 - QUANTILES[one.name]) < FEW


def measure(load: Load, path: str, bodies: Sequence[bytes], *, key: str, duration_s: float, tell: Tell) -> Load:
    """Fills ``load``. Ctrl-C ends it early and keeps every step that ended, and what the one at work had seen.

    Raises the server's own error when it refuses the first body, ``NotPossible`` when nothing answers.
    """
    generator = Generator(Target.of(load.url, path, key), bodies, load.clients, load.wanted, load.seed)

    def loop() -> asyncio.AbstractEventLoop:
        # epoll wakes in whole milliseconds, select in microseconds; it takes no file numbers above 1,023.
        precise = load.clients <= 500
        return asyncio.SelectorEventLoop(selectors.SelectSelector() if precise else selectors.DefaultSelector())

    try:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(_measure(load, generator, duration_s, tell))
    except KeyboardInterrupt:
        load.limited_by = "stopped"
        if generator.step is not None and generator.step not in load.steps and generator.step.requests:
            generator.step.cut_short = True
            load.steps.append(generator.step)
    return load


async def _measure(load: Load, generator: Generator, duration_s: float, tell: Tell) -> None:
    end = time.monotonic() + duration_s
    tell("one connection alone", None, duration_s)
    await _first(generator)
    alone = await generator.alone(min(ALONE_S, duration_s / STEPS))
    load.alone_s = statistics.median(alone)
    load.step_s = min(LONGEST_S, max(SHORTEST_S, duration_s / STEPS))
    climb = Climb(1 / statistics.fmean(alone) / 4)
    while rate := climb.next():
        left = end - time.monotonic()
        if left < load.step_s:
            break
        tell(f"{rate:,.1f} requests/s", None, min(left, climb.left * load.step_s))
        step = await generator.run(rate, load.step_s)
        load.steps.append(step)
        missed, behind = bool(step.missed(load.wanted)), step.behind(load.wanted)
        climb.add(held=not missed, saturated=step.saturated or (missed and behind))
        load.best, load.confirmed = climb.best, climb.confirmed
        tell(f"{rate:,.1f} requests/s", step, min(end - time.monotonic(), climb.left * load.step_s))
        if step.unanswered or missed:
            await generator.calm(load.alone_s, min(10.0, max(0.0, end - time.monotonic())))
    else:
        load.limited_by = "server"
    wall = min(
        (step for step in load.steps if step.missed(load.wanted) and step.rate > load.best), key=lambda step: step.rate, default=None
    )
    if wall is not None and wall.behind(load.wanted):
        load.limited_by = "generator"


async def _first(generator: Generator) -> None:
    """Asks every kind of wrong thing once, before a thousand do."""
    line = Line(generator.target)
    try:
        status, said = await asyncio.wait_for(line.ask(generator.bodies[0]), 60)
    except (OSError, EOFError, ValueError, TimeoutError) as error:
        hint = "luthier serve starts one; check --url (LUTHIER_URL)"
        raise NotPossible(f"{generator.target.host}:{generator.target.port}: no server answers: {error}", hint) from None
    finally:
        line.close()
    if status >= 300:
        raise failure(status, {}, said)
