"""Entity F1: spans found with the right kind and both ends right (as CoNLL 2003 and seqeval count), and with credit for an overlap."""

from __future__ import annotations

from typing import Any

import numpy as np

from luthier.core.ports import Judged
from luthier.core.types import Score
from luthier.metrics._spans import Counts, counts, share

BINS = 15


class EntityF1:
    """``entity_f1``, ``entity_precision``, ``entity_recall`` over all spans (micro), ``entity_macro_f1`` over kinds, ``entity_partial_f1``.

    Exact: kind, start and end are right; 0/0 is 0 (seqeval's definitions). Partial: half a point for a span of the right kind that
    overlaps. ``entity_ece``: how far a span's confidence is from the share of such spans that are right.
    """

    name = "entity-f1"
    summary = "precision, recall and F1 of spans: exact (seqeval), partial, by kind"
    scores = ("entity_f1", "entity_precision", "entity_recall", "entity_macro_f1", "entity_partial_f1", "entity_ece")

    def compute(self, judged: Judged) -> list[Score]:
        """Six scores; ``parts`` are per kind."""
        made = counts(judged)
        values = _scores(made, np.ones((1, len(judged.examples))))
        right, found, exact, partial = (table.sum(axis=0) for table in made[1:])
        tables = {
            "entity_f1": share(2 * exact, right + found),
            "entity_precision": share(exact, found),
            "entity_recall": share(exact, right),
            "entity_partial_f1": share(2 * partial, right + found),
        }
        parts = {name: dict(zip(made.kinds, map(float, table), strict=True)) for name, table in tables.items()}
        scored = [Score(name, float(value[0]), parts=parts.get(name, {})) for name, value in values.items()]
        return [*scored, Score("entity_ece", _ece(judged), higher_is_better=False)]

    def resample(self, judged: Judged, counted: Any) -> dict[str, Any]:
        """The scores of each resample (but for the calibration's); ``counted`` [resamples, rows]."""
        return _scores(counts(judged), counted)

    def figures(self, judged: Judged) -> dict[str, Any]:
        """``entities``: for each kind precision, recall, F1, partial F1, spans that are right (``support``) and spans found."""
        made = counts(judged)
        right, found, exact, partial = (table.sum(axis=0) for table in made[1:])
        columns = (
            share(exact, found),
            share(exact, right),
            share(2 * exact, right + found),
            share(2 * partial, right + found),
            right,
            found,
        )
        names = ("precision", "recall", "f1", "partial_f1", "support", "found")
        table = [
            {"label": kind, **{name: float(value) for name, value in zip(names, values, strict=True)}}
            for kind, *values in zip(made.kinds, *columns, strict=True)
        ]
        return {"entities": table} if table else {}


def _scores(made: Counts, counted: Any) -> dict[str, Any]:
    """Each [resamples]."""
    right, found, exact, partial = (counted @ table for table in made[1:])
    seen = (right + found) > 0
    each = share(2 * exact, right + found)
    all_right, all_found, all_exact = right.sum(axis=1), found.sum(axis=1), exact.sum(axis=1)
    return {
        "entity_f1": share(2 * all_exact, all_right + all_found),
        "entity_precision": share(all_exact, all_found),
        "entity_recall": share(all_exact, all_right),
        "entity_macro_f1": (each * seen).sum(axis=1) / np.maximum(seen.sum(axis=1), 1),
        "entity_partial_f1": share(2 * partial.sum(axis=1), all_right + all_found),
    }


def _ece(judged: Judged) -> float:
    """Expected calibration error of spans in 15 bins; 0 where no span says how sure it is."""
    said, true = [], []
    for example, prediction in zip(judged.examples, judged.predictions, strict=True):
        entities = example.target["entities"] if isinstance(example.target, dict) else ()
        right = {(one["start"], one["end"], one["label"]) for one in entities}
        for one in prediction.details.get("entities", ()):
            said.append(one["confidence"])
            true.append((one["start"], one["end"], one["label"]) in right)
    if not said:
        return 0.0
    sure, hits = np.array(said), np.array(true, dtype=np.float64)
    numbers = np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)
    return float(np.abs(np.bincount(numbers, sure - hits, minlength=BINS)).sum() / len(sure))


plugin = EntityF1()
