"""The bootstrap: how much a score would move had other rows been drawn (Efron 1979), by counting rows instead of copying them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from luthier.core.types import Example

MOST_NUMBERS = 100_000_000
"""Numbers held at once; of a very large test set fewer resamples are drawn (at least 100)."""


def draw(examples: Sequence[Example], resamples: int, seed: int) -> Any:
    """float32 [resamples, rows]: how often each row is in each resample. Rows of one group are drawn together."""
    names = [example.group or f"row {number}" for number, example in enumerate(examples)]
    _, owner = np.unique(names, return_inverse=True)
    groups = int(owner.max()) + 1 if len(owner) else 0
    resamples = min(resamples, max(100, MOST_NUMBERS // max(len(names), 1)))
    random = np.random.default_rng(seed)
    counts = np.zeros((resamples, groups), dtype=np.float32)
    for row in counts:
        row[:] = np.bincount(random.integers(0, groups, groups), minlength=groups)
    return counts if groups == len(names) and bool((owner == np.arange(groups)).all()) else counts[:, owner]


def interval(values: Any, measured: float) -> tuple[float, float]:
    """The middle 95 % of the resamples, moved by the bootstrap's estimate of the bias (mean of the resamples minus what was measured).

    Resamples repeat rows and miss rare classes, so macro F1 sinks and ECE rises in all of them; the move takes that out (Efron and
    Tibshirani 1993, ch. 10). Cut at 0 and 1 where every resample stays within them.
    """
    drawn = np.asarray(values, dtype=np.float64)
    low, high = np.quantile(drawn, [0.025, 0.975]) - (drawn.mean() - measured)
    low = max(low, 0.0) if drawn.min() >= 0 and measured >= 0 else low
    high = min(high, 1.0) if drawn.max() <= 1 and measured <= 1 else high
    return float(min(low, measured)), float(max(high, measured))


def wilson(right: int, rows: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927): right also for few rows and for shares of 0 and 1."""
    if not rows:
        return 0.0, 1.0
    z, share = 1.959964, right / rows
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z * np.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)) / (1 + z * z / rows)
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))
