"""Which items go into which batch: filled by tokens, of equal lengths where it can be, in an order that only seed and epoch decide."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luthier.stages.train.resampling import Resampling

WINDOW_ROWS = 16384
"""Items are sorted by length inside windows of this many rows of the shuffled order."""


def epoch_batches(lengths: Any, budget: int, seed: int, epoch: int, rows: int = 0) -> list[Any]:
    """Arrays of item numbers, each item once; ``rows * longest <= budget`` (or one row). ``lengths`` [items] int in tokens.

    ``rows``, where it is given, decides instead of the budget: so many in each batch.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    batches: list[Any] = []
    for start in range(0, len(order), WINDOW_ROWS):
        batches += _window(order[start : start + WINDOW_ROWS], lengths, budget, rows)
    return [batches[number] for number in rng.permutation(len(batches))]


def _window(rows: Any, lengths: Any, budget: int, most: int = 0) -> list[Any]:
    """Full batches of one exact length (no padding, no mask); what is left over is packed with its neighbours in length."""
    rows = rows[np.argsort(lengths[rows], kind="stable")]
    full: list[Any] = []
    rest: list[Any] = []
    values, starts = np.unique(lengths[rows], return_index=True)
    for value, start, end in zip(values, starts, [*starts[1:], len(rows)], strict=True):
        fits = most or max(1, budget // max(1, int(value)))
        whole = (end - start) // fits * fits
        full += [rows[at : at + fits] for at in range(start, start + whole, fits)]
        rest += list(rows[start + whole : end])
    return full + _packed(rest, lengths, budget, most)


def _packed(rows: Sequence[Any], lengths: Any, budget: int, most: int) -> list[Any]:
    """Rows in order of length, longest first, cut so that no batch passes the budget (or, where that is given, ``most`` rows)."""
    batches: list[Any] = []
    batch: list[Any] = []
    longest = 1
    for row in reversed(rows):
        if batch and (len(batch) >= most if most else (len(batch) + 1) * longest > budget):
            batches.append(np.array(batch))
            batch = []
        if not batch:
            longest = max(1, int(lengths[row]))
        batch.append(row)
    if batch:
        batches.append(np.array(batch))
    return batches


def sorted_batches(lengths: Any, budget: int) -> list[Any]:
    """Batches for answering: every item once, in order of length, without chance."""
    return _window(np.arange(len(lengths)), lengths, budget) if len(lengths) else []


@dataclass(frozen=True)
class Course:
    """The batches of a whole training. ``ends``: the step after which each epoch is over; the last may be cut short."""

    lengths: Any
    budget: int
    seed: int
    ends: tuple[int, ...]
    rows: int = 0
    resampling: Resampling | None = None
    batched: Callable[[int], list[Any]] | None = None

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.ends[-1]

    def epoch_of(self, step: int) -> int:
        """The epoch, from 0, that the step (from 0) belongs to."""
        return next(number for number, end in enumerate(self.ends) if step < end)

    def start_of(self, epoch: int) -> int:
        """The epoch's first step."""
        return self.ends[epoch - 1] if epoch else 0

    def batches(self, epoch: int) -> list[Any]:
        """The epoch's batches in order."""
        if self.batched is not None:
            return self.batched(epoch)
        if self.resampling is None:
            return epoch_batches(self.lengths, self.budget, self.seed, epoch, self.rows)
        drawn = self.resampling.rows(epoch)
        return [drawn[batch] for batch in epoch_batches(self.lengths[drawn], self.budget, self.seed, epoch, self.rows)]


def course(
    lengths: Any,
    budget: int,
    seed: int,
    epochs: float,
    max_steps: int = 0,
    rows: int = 0,
    resampling: Resampling | None = None,
    batched: Callable[[int], list[Any]] | None = None,
) -> Course:
    """Plans every batch of ``epochs`` epochs (a fraction trains on a part of the last), at most ``max_steps`` steps when that is given.

    ``rows``: so many in each batch, whatever the budget (0: as many as it holds). ``resampling``: which items an epoch holds (``None``:
    each once). ``batched``: gives the batches of an epoch itself.
    """
    ends: list[int] = []
    at = 0
    endless = Course(lengths, budget, seed, (), rows, resampling, batched)
    for epoch in range(math.ceil(epochs)):
        count = len(endless.batches(epoch))
        at += max(1, round(count * min(1.0, epochs - epoch)))
        ends.append(min(at, max_steps) if max_steps else at)
        if max_steps and at >= max_steps:
            break
    return Course(lengths, budget, seed, tuple(ends), rows, resampling, batched)
