"""A job that its owner wants cancelled or paused: the wish is written down once, and looked after until it came true."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from luthier.core.errors import Conflict
from luthier.core.tuning import FINAL, State

if TYPE_CHECKING:
    from luthier.app.fine_tuning import FineTuning

Wish = Literal["cancel", "pause"]
MEANT: dict[Wish, State] = {"cancel": "cancelled", "pause": "paused"}

WAIT_S = 20.0
"""How long a caller who cancels or pauses waits at most for the worker to act on it."""

SOON_S, LATER_S = 0.1, 1.0
"""How long it rests before it looks again: little at first, for jobs that stop at once."""


class Stop:
    """One wish. ``step`` looks once, and acts where that is needed; who waits does so between steps, and holds nothing meanwhile."""

    def __init__(self, tuning: FineTuning, job: str, wish: Wish) -> None:
        self.tuning, self.job, self.wish = tuning, job, wish
        self.asked = False

    def step(self) -> bool:
        """Whether it is over. Raises ``Conflict`` when the job cannot become that."""
        state, said = self.tuning.rows.standing(self.job)
        meant = MEANT[self.wish]
        if state == "running":
            self.asked = True
            if said != self.wish and said != "cancel":  # nobody asked yet, or only to pause, or it was taken back meanwhile
                self.tuning.rows.wish(self.job, self.wish)
            return False
        if self.asked and state in (meant, *FINAL):
            return True  # so it is, or it ended before the worker saw the wish
        if state == meant:
            raise Conflict(f"job {self.job} is {meant} already", "retrieve the job to see its state")
        try:
            return move(self.tuning, self.job, state, meant)
        except Conflict:
            if not self.asked:
                raise
            return False  # a worker did so just now, or ended it

    def waits(self) -> Iterator[float]:
        """The rests between steps, in seconds, until ``WAIT_S`` are over."""
        end, rest = time.monotonic() + WAIT_S, SOON_S
        while time.monotonic() < end:
            yield rest
            rest = min(1.5 * rest, LATER_S)


def move(tuning: FineTuning, job: str, state: str, meant: State) -> bool:
    """Ends or halts a job that nobody holds; whether it was in ``state`` still. Raises ``Conflict`` where that is no legal move."""
    ended: dict[str, Any] = {"finished_at": time.time()} if meant == "cancelled" else {}
    if not tuning.rows.move_free(job, meant, tuning.moved(job, state, meant), **ended):
        return False
    tuning.notify(job, meant)
    return True
