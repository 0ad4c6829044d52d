"""Out of scope: how many messages that no label fits are recognised, at the price of how few right answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from luthier.core.ports import Judged
from luthier.core.types import Score, names_in

LOST = 0.02
"""Of the in-scope rows, the share of right answers that recognising the others may cost: ``out_of_scope_recall`` is at this point."""


class OutOfScope:
    """Of rows that a label fits: ``in_scope_accuracy`` (right, nothing held back) and ``in_scope_accepted`` (not answered with nothing).

    Where some rows have no label: ``out_of_scope_recall``, the share of them whose score is above the cut at which in-scope accuracy
    falls by 0.02; ``out_of_scope_rejected``, the share answered with nothing, by the model's own cut; ``out_of_scope_roc_auc``.
    """

    name = "out-of-scope"
    summary = "messages that no label fits: recall at a fixed in-scope accuracy, area under the ROC curve"
    scores = ("in_scope_accuracy", "in_scope_accepted", "out_of_scope_recall", "out_of_scope_rejected", "out_of_scope_roc_auc")

    def compute(self, judged: Judged) -> list[Score]:
        """Two scores, or five."""
        outside = np.array([not names_in(example.target) for example in judged.examples], dtype=bool)
        silent = np.array([not names_in(prediction.output) for prediction in judged.predictions], dtype=bool)
        right = np.array([_right(p.output, e.target) for p, e in zip(judged.predictions, judged.examples, strict=True)], dtype=bool)
        odd = np.array([prediction.out_of_scope for prediction in judged.predictions])
        found = [Score("in_scope_accuracy", _mean(right[~outside])), Score("in_scope_accepted", _mean(~silent[~outside]))]
        if not outside.any() or outside.all():
            return found
        return [
            *found,
            Score("out_of_scope_recall", recall_at(odd, outside, right)),
            Score("out_of_scope_rejected", _mean(silent[outside])),
            Score("out_of_scope_roc_auc", _area(odd, outside)),
        ]

    def figures(self, judged: Judged) -> dict[str, Any]:
        """None."""
        return {}


def _right(output: Any, target: Any) -> bool:
    return set(names_in(output)) == set(names_in(target))


def _mean(values: Any) -> float:
    return float(values.mean()) if len(values) else 0.0


def recall_at(odd: Any, outside: Any, right: Any, lost: float = LOST) -> float:
    """The largest share of outside rows above a cut, over all cuts above which at most ``lost`` of the in-scope rows' right answers lie."""
    inside, best = ~outside, 0.0
    for cut in np.unique(odd):
        taken = odd >= cut
        if float((taken & inside & right).sum()) <= lost * float(inside.sum()):
            best = max(best, float(taken[outside].mean()))
    return best


def _area(odd: Any, outside: Any) -> float:
    """The chance that an outside row has the higher score; a tie counts half."""
    strange, plain = odd[outside], np.sort(odd[~outside])
    below, upto = np.searchsorted(plain, strange, side="left"), np.searchsorted(plain, strange, side="right")
    return float((below + upto).mean() / 2 / len(plain))


plugin = OutOfScope()
