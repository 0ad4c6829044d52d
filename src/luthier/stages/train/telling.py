"""How far a cache or a training on cached vectors is, said a few times a second at the most."""

from __future__ import annotations

import time
from collections.abc import Callable

from luthier.core.events import StageProgressed
from luthier.core.ports import Emit

EVERY_S = 0.5


def without_steps(emit: Emit) -> Emit:
    """Passes on how far the vectors are, but not the steps of the small training on them."""
    return lambda event: emit(event) if isinstance(event, StageProgressed) and event.phase != "train" else None


def reporter(emit: Emit, phase: str) -> Callable[[int, int], None]:
    """Says how far a cache is, at most twice a second."""
    start = last = time.perf_counter()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.perf_counter()
        if done < total and now - last < EVERY_S:
            return
        last = now
        left = (now - start) / max(1, done) * (total - done)
        emit(StageProgressed(stage="train", phase=phase, done=done, total=total, unit="rows", left_s=round(left, 1)))

    return report
