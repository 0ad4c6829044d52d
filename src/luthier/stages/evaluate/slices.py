"""Where the model is worse: accuracy by length, class frequency, source and any column, each against the rest of the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from luthier.core.ports import Judged, Task
from luthier.core.types import Example
from luthier.stages.evaluate.bootstrap import wilson
from luthier.stages.evaluate.scoring import right_rows

MOST_VALUES = 20
"""A column with more values is not sliced by, unless the plan names it."""
MOST_VALUES_ASKED = 200
LEVEL = 0.05


def table(task: Task, judged: Judged, lengths: Sequence[int], train: Sequence[Example], asked: Sequence[str]) -> list[dict[str, Any]]:
    """One row a slice: ``slice``, ``value``, ``rows``, ``accuracy``, ``low``, ``high``, ``p``, ``worse``.

    ``p``: Fisher's exact test, one-sided (fewer right inside than outside); ``worse``: below 0.05 after Holm's correction over all slices.
    """
    right = right_rows(judged)
    found: list[dict[str, Any]] = []
    for name, values in _ways(task, judged.examples, lengths, train, asked):
        for value in sorted(set(values), key=str):
            found.append({"slice": name, "value": str(value), **_slice(right, np.array([one == value for one in values]))})
    _flag(found)
    return found


def _slice(right: Any, inside: Any) -> dict[str, Any]:
    from scipy.stats import fisher_exact

    rows, hits = int(inside.sum()), int(right[inside].sum())
    others, other_hits = int((~inside).sum()), int(right[~inside].sum())
    low, high = wilson(hits, rows)
    p = float(fisher_exact([[hits, rows - hits], [other_hits, others - other_hits]], alternative="less")[1]) if others else 1.0
    return {"rows": rows, "accuracy": hits / max(rows, 1), "low": low, "high": high, "p": p}


def _flag(found: list[dict[str, Any]]) -> None:
    """Holm 1979: the smallest p must pass 0.05 / m, the next 0.05 / (m - 1), and so on until one does not."""
    still = True
    for rank, row in enumerate(sorted(found, key=lambda one: one["p"])):
        still = still and row["p"] < LEVEL / (len(found) - rank)
        row["worse"] = still


def _ways(
    task: Task, examples: Sequence[Example], lengths: Sequence[int], train: Sequence[Example], asked: Sequence[str]
) -> Iterator[tuple[str, list[Any]]]:
    """Each way to cut the rows, with the slice of every row."""
    yield "length", _quartiles(np.asarray(lengths))
    yield "class frequency", _frequencies([task.stratum(e) for e in examples], Counter(task.stratum(e) for e in train))
    sources = [PurePath(example.source.rsplit(":", 1)[0]).name for example in examples]
    if len(set(sources)) > 1:
        yield "source", sources
    for column in sorted({name for example in examples for name in example.columns}):
        values = [_text(example.columns.get(column)) for example in examples]
        most = MOST_VALUES_ASKED if column in asked else MOST_VALUES
        if 1 < len(set(values)) <= most:
            yield column, values


def _text(value: Any) -> str:
    return "(none)" if value is None or value == "" else str(value)[:80]


def _quartiles(lengths: Any) -> list[str]:
    bounds = np.quantile(lengths, [0.25, 0.5, 0.75]) if len(lengths) else np.zeros(3)
    number = np.searchsorted(bounds, lengths, side="left")
    names = {}
    for one in np.unique(number):
        inside = lengths[number == one]
        names[one] = f"quarter {one + 1}: {int(inside.min())} to {int(inside.max())} tokens"
    return [names[one] for one in number]


def _frequencies(strata: Sequence[str], counts: Counter[str]) -> list[str]:
    """Classes in thirds by how many training rows they have."""
    known = np.array([counts.get(stratum, 0) for stratum in sorted(set(strata) | set(counts))])
    low, high = np.quantile(known, [1 / 3, 2 / 3])
    sizes = [counts.get(stratum, 0) for stratum in strata]
    names = (f"1 rare: up to {low:.0f} training rows", f"2 medium: up to {high:.0f}", f"3 frequent: more than {high:.0f}")
    return [names[int(size > low) + int(size > high)] for size in sizes]
