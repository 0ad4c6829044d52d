"""Which load is tried next: twice as much until the server is saturated, then halves of what lies between held and missed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

PRECISION = 1.05
"""The search ends when the load that missed is at most so many times the one that held."""

DOWN = 3
"""How often the first load is made smaller when even that misses."""

CONFIRM = 2
"""How often a best load is tried once more."""


@dataclass
class Climb:
    """A search in loads (requests a second). ``next`` says what to try (0.0: nothing more), ``add`` how it went.

    A load that held is tried once more at the end with other arrivals: the best of many tries is also the luckiest one.
    """

    rate: float
    held: list[float] = field(default_factory=list)
    missed: list[float] = field(default_factory=list)
    """Loads that missed, by the server's fault or the generator's."""
    saturated: bool = False
    again: int = 0
    """How often a load was tried once more."""
    confirmed: bool = False
    """Whether the best one held twice."""
    _tried: float = 0.0

    def next(self) -> float:
        """The next load."""
        self._tried = self._following()
        return self._tried

    def _following(self) -> float:
        if not (self.held or self.missed):
            return self.rate
        if not self.held:
            return min(self.missed) / 4 if len(self.missed) <= DOWN else 0.0
        if not self.saturated:
            return 2 * max(self.held + self.missed)
        if self.wall / self.best > PRECISION and self.wall < math.inf:
            return math.sqrt(self.best * self.wall)
        return 0.0 if self.confirmed or self.again >= CONFIRM else self.best

    @property
    def best(self) -> float:
        """The highest load that held; 0.0 while there is none. A lower one that missed was chance: more is never easier."""
        return max(self.held, default=0.0)

    @property
    def wall(self) -> float:
        """The lowest load above ``best`` that missed; infinite while there is none."""
        return min((rate for rate in self.missed if rate > self.best), default=math.inf)

    def add(self, *, held: bool, saturated: bool) -> None:
        """How the load of the last ``next`` went."""
        again = self._tried in self.held
        self.again += again
        self.saturated = self.saturated or saturated or (not held and self.wall < math.inf)  # twice too much is enough to see
        self.confirmed = held and again
        if held:
            self.held += [] if again else [self._tried]
        else:
            self.held = [rate for rate in self.held if rate < self._tried]
            self.missed.append(self._tried)

    @property
    def left(self) -> int:
        """About how many steps are to come."""
        if not self.saturated:
            return 8
        gap = self.wall / self.best if self.best and self.wall < math.inf else 1.0
        halves = math.ceil(math.log2(max(1.0, math.log(max(gap, 1.0)) / math.log(PRECISION))))
        return halves + (not self.confirmed and self.again < CONFIRM)
