"""One step of load: requests arrive at times decided beforehand, whatever the server does, and each is counted from that time.

Arrivals are a Poisson process (open loop): a server that stalls makes the requests behind it late, and that lateness is in their latency. A
loop that sends the next request when the last one was answered asks less of a slow server and misses it (coordinated omission: Gil Tene,
"How NOT to measure latency", 2013). What the generator itself is late by is measured beside it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from luthier.client.load.line import Line, Target
from luthier.client.load.objective import ERRORS, QUANTILES, Objective, loosest_ms, tightest_ms

BUSY_SHARE = 0.9
"""A generator that used this share of a core has no room left: what it measures may be itself."""

LATE_SHARE, LATE_MS = 0.1, 5.0
"""How late the generator may be (95th percentile): a share of the tightest objective, and at least these milliseconds."""

SATURATED = 0.9
"""Below this share of the offered load answered, the server gives what it has."""

TIMEOUT_S = 60.0
BEHIND_LIMITS = 4.0
"""A step is cut short when a request waits this many times the loosest limit, and at least ``BEHIND_S``: more load shows nothing more."""
BEHIND_S = 2.0
DRAIN_S = 1.0
"""How long the last answers are waited for, at least."""


@dataclass
class Step:
    """What one step measured. Latencies are in seconds and count from the intended arrival; those of ``unanswered`` requests are how long
    they had waited when the step ended, so less than the truth. ``answered``: right answers before its last arrival; ``late``: seconds
    that the generator itself was behind at each arrival; ``queued``: requests that found every connection busy.
    """

    rate: float
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    unanswered: int = 0
    late: list[float] = field(default_factory=list)
    queued: int = 0
    cpu_share: float = 0.0
    cut_short: bool = False

    @property
    def requests(self) -> int:
        """Requests that arrived."""
        return len(self.latencies) + self.errors.total()

    @property
    def error_share(self) -> float:
        """Refused, broken off or timed out."""
        return self.errors.total() / max(1, self.requests)

    @property
    def answered_per_s(self) -> float:
        """Right answers a second while requests arrived."""
        return self.answered / self.seconds if self.seconds else 0.0

    @property
    def saturated(self) -> bool:
        """Whether the server answered clearly less than it was asked."""
        return self.cut_short or self.answered_per_s < SATURATED * min(self.rate, self.requests / max(self.seconds, 1e-9))

    def milliseconds(self, name: str) -> float:
        """A quantile of the latencies; 0.0 without any."""
        return 1e3 * quantile(self.latencies, QUANTILES[name])

    def missed(self, wanted: Sequence[Objective]) -> list[str]:
        """Objectives that do not hold here."""
        found = {one: self.error_share if one.name == ERRORS else self.milliseconds(one.name) for one in wanted}
        return [str(one) for one, value in found.items() if value > one.limit or not self.latencies]

    def behind(self, wanted: Sequence[Objective]) -> bool:
        """Whether the generator could not keep its own times, so that a missed objective says nothing of the server."""
        allowed_s = max(LATE_MS, LATE_SHARE * min(tightest_ms(wanted), 1000.0)) / 1e3
        return self.cpu_share > BUSY_SHARE or quantile(self.late, 0.95) > allowed_s

    def as_json(self, wanted: Sequence[Objective]) -> dict[str, object]:
        """The row of the table."""
        latencies = {f"{name}_ms": round(self.milliseconds(name), 2) for name in QUANTILES}
        own = {"cpu_share": round(self.cpu_share, 3), "late_p95_ms": round(1e3 * quantile(self.late, 0.95), 2)}
        said: dict[str, object] = {
            "rate_per_s": round(self.rate, 3),
            "seconds": round(self.seconds, 2),
            "requests": self.requests,
            **latencies,
        }
        said |= {"answered_per_s": round(self.answered_per_s, 3), "errors": round(self.error_share, 5), "by_error": dict(self.errors)}
        ends = {"unanswered": self.unanswered, "queued": self.queued, "saturated": self.saturated, "cut_short": self.cut_short}
        return {**said, **ends, "generator": own, "behind": self.behind(wanted), "missed": self.missed(wanted)}


def quantile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of them do not exceed (nearest rank); 0.0 of none."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, max(0, -int(-share * len(ranked) // 1) - 1))] if ranked else 0.0


class Generator:
    """``clients`` connections to a target, and the bodies that they send in turn."""

    def __init__(self, target: Target, bodies: Sequence[bytes], clients: int, wanted: Sequence[Objective], seed: int = 0) -> None:
        self.target, self.bodies, self.clients, self.wanted, self.seed = target, bodies, clients, wanted, seed
        self.step: Step | None = None
        """The step at work."""
        self._number = 0

    async def alone(self, seconds: float) -> list[float]:
        """Latencies in seconds of one connection that asks again and again: what an answer takes when nobody else asks."""
        taken: list[float] = []
        line, end = Line(self.target), time.perf_counter() + seconds
        try:
            while not taken or time.perf_counter() < end:
                start = time.perf_counter()
                async with asyncio.timeout(TIMEOUT_S):
                    await line.ask(self._body())
                taken.append(time.perf_counter() - start)
        finally:
            line.close()
        return taken

    async def run(self, rate: float, seconds: float) -> Step:
        """A step of ``rate`` arrivals a second."""
        step = self.step = Step(rate)
        waiting: asyncio.Queue[float] = asyncio.Queue()
        flying: dict[int, float] = {}
        lines = [Line(self.target) for _ in range(self.clients)]
        asking = [asyncio.ensure_future(self._asks(number, line, waiting, flying, step)) for number, line in enumerate(lines)]
        start, cpu = time.perf_counter(), time.process_time()
        try:
            await self._arrive(step, start, seconds, waiting, flying)
            step.seconds = time.perf_counter() - start
            await self._drain(waiting, flying)
        finally:
            now = time.perf_counter()
            step.seconds = step.seconds or now - start
            step.cpu_share = (time.process_time() - cpu) / (now - start)
            left = [*flying.values(), *(waiting.get_nowait() for _ in range(waiting.qsize()))]
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            for line in lines:
                line.close()
            step.latencies += [now - at for at in left]
            step.unanswered = len(left)
        return step

    async def _arrive(self, step: Step, start: float, seconds: float, waiting: asyncio.Queue[float], flying: dict[int, float]) -> None:
        chance = random.Random(f"{self.seed}:{step.rate}")
        patience, at = max(BEHIND_S, BEHIND_LIMITS * loosest_ms(self.wanted) / 1e3), start
        while (at := at + chance.expovariate(step.rate)) < start + seconds:
            if (rest := at - time.perf_counter()) > 0:
                await asyncio.sleep(rest)
            elif len(step.late) % 8 == 0:  # far behind: let the answers in that came meanwhile
                await asyncio.sleep(0)
            now = time.perf_counter()
            step.late.append(now - at)
            step.queued += len(flying) >= self.clients
            waiting.put_nowait(at)
            if flying and now - min(flying.values()) > patience:
                step.cut_short = True
                return
        await asyncio.sleep(max(0.0, start + seconds - time.perf_counter()))

    async def _drain(self, waiting: asyncio.Queue[float], flying: dict[int, float]) -> None:
        """Waits for the last answers: as long as they could still be within the loosest limit, and ``DRAIN_S`` at least."""
        end = time.perf_counter() + max(DRAIN_S, 2 * loosest_ms(self.wanted) / 1e3)
        while (flying or not waiting.empty()) and time.perf_counter() < end:
            await asyncio.sleep(0.01)

    async def _asks(self, number: int, line: Line, waiting: asyncio.Queue[float], flying: dict[int, float], step: Step) -> None:
        while True:
            at = await waiting.get()
            flying[number] = at
            problem = await self._answered(line)
            if problem:
                step.errors[problem] += 1
            else:
                step.latencies.append(time.perf_counter() - at)
                step.answered += not step.seconds
            del flying[number]

    async def _answered(self, line: Line) -> str:
        """Why there was no right answer ("" when there was one)."""
        try:
            async with asyncio.timeout(TIMEOUT_S):  # not wait_for: Python 3.11's can swallow the cancel that ends a step
                status, _ = await line.ask(self._body())
        except TimeoutError:
            line.close()
            return f"no answer in {TIMEOUT_S:.0f} s"
        except (OSError, EOFError, ValueError) as error:
            line.close()
            return f"broken off: {type(error).__name__}"
        return "" if 200 <= status < 300 else f"status {status}"

    def _body(self) -> bytes:
        self._number += 1
        return self.bodies[self._number % len(self.bodies)]

    async def calm(self, alone_s: float, wait_s: float) -> None:
        """Until the server answers about as fast as it did alone: what a step of too much load left is not the next one's fault."""
        end = time.perf_counter() + wait_s
        while time.perf_counter() < end:
            start, line = time.perf_counter(), Line(self.target)
            try:
                async with asyncio.timeout(max(0.05, end - start)):
                    await line.ask(self._body())
            except (OSError, EOFError, ValueError, TimeoutError):
                await asyncio.sleep(0.1)
                continue
            finally:
                line.close()
            if time.perf_counter() - start < max(3 * alone_s, 0.02):
                return
