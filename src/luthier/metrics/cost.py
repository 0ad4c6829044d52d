"""Cost: what the errors cost on average when some are worse than others (a missed fraud against a false alarm)."""

from __future__ import annotations

from typing import Any

import numpy as np

from luthier.core.ports import Judged
from luthier.core.types import Score
from luthier.metrics._decisions import Decisions, decisions


class Cost:
    """``cost``: mean cost of a row's answer, lower is better. ``calibration['costs'][right][answered]``; what is not given costs 1.

    For several labels: the mean number of labels missed or wrongly added.
    """

    name = "cost"
    summary = "mean cost of an answer, by a cost matrix"

    def compute(self, judged: Judged) -> list[Score]:
        """One score; ``parts`` is the mean cost of each right class's rows."""
        made = decisions(judged)
        paid = row_costs(made, judged.calibration.get("costs") or {})
        parts = {label: float(paid[rows].mean()) for label, rows in zip(made.labels, made.right.T, strict=True) if rows.any()}
        return [Score("cost", float(paid.mean()) if len(paid) else 0.0, higher_is_better=False, parts=parts)]

    def resample(self, judged: Judged, counts: Any) -> dict[str, Any]:
        """The score of each resample; ``counts`` [resamples, rows]."""
        paid = row_costs(decisions(judged), judged.calibration.get("costs") or {})
        return {"cost": counts @ paid / np.maximum(counts.sum(axis=1), 1)}

    def figures(self, judged: Judged) -> dict[str, Any]:
        """None."""
        return {}


def row_costs(made: Decisions, costs: dict[str, dict[str, float]]) -> Any:
    """What each row's answer costs, [rows]."""
    if made.several:
        return (made.right != made.chosen).sum(axis=1).astype(np.float64)
    table = np.array([[0.0 if a == b else float(costs.get(a, {}).get(b, 1.0)) for b in made.labels] for a in made.labels])
    return table[made.right.argmax(axis=1), made.chosen.argmax(axis=1)]


plugin = Cost()
