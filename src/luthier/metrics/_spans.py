"""Spans that are right and spans that were found, counted row by row and kind by kind: what every metric of entities is made of."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from luthier.core.ports import Judged


class Counts(NamedTuple):
    """Each [rows, kinds] float64: ``right`` spans, ``found`` ones, those of both exactly (``exact``), and ``partial`` credit: 1 for an
    exact span, else 0.5 for one of the same kind that overlaps (SemEval 2013, task 9.1; each span is counted once).
    """

    kinds: list[str]
    right: Any
    found: Any
    exact: Any
    partial: Any


def counts(judged: Judged) -> Counts:
    """The counts of what was judged; targets that hold no spans count as rows without any."""
    right = [_spans(example.target) for example in judged.examples]
    found = [_spans(prediction.output) for prediction in judged.predictions]
    kinds = sorted({label for spans in (*right, *found) for _, _, label in spans})
    index = {kind: number for number, kind in enumerate(kinds)}
    shape = (len(right), len(kinds))
    made = Counts(kinds, *(np.zeros(shape) for _ in range(4)))
    for row, (wanted, given) in enumerate(zip(right, found, strict=True)):
        for table, spans in ((made.right, wanted), (made.found, given), (made.exact, wanted & given)):
            for _, _, label in spans:
                table[row, index[label]] += 1
        made.partial[row] = made.exact[row]
        left = sorted(given - wanted)
        for start, end, label in sorted(wanted - given):
            near = next((one for one in left if one[2] == label and one[0] < end and one[1] > start), None)
            if near:
                left.remove(near)
                made.partial[row, index[label]] += 0.5
    return made


def _spans(value: Any) -> set[tuple[int, int, str]]:
    entities = value.get("entities", ()) if isinstance(value, dict) else ()
    return {(entity["start"], entity["end"], entity["label"]) for entity in entities}


def share(part: Any, whole: Any) -> Any:
    """``part / whole``, 0 where there is nothing."""
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole > 0)
