"""ROC-AUC: the chance that a row of a class gets a higher score for it than a row of another class (one against the rest, macro)."""

from __future__ import annotations

from typing import Any

import numpy as np

from luthier.core.ports import Judged
from luthier.core.types import Score
from luthier.metrics import _ranking as ranking
from luthier.metrics._decisions import decisions


class RocAuc:
    """``roc_auc`` in [0, 1]: mean over the classes that have both kinds of row; 0.5 is chance."""

    name = "roc-auc"
    summary = "area under the ROC curve, one class against the rest"

    def compute(self, judged: Judged) -> list[Score]:
        """One score; ``parts`` per class."""
        made = decisions(judged)
        areas = ranking.per_class(ranking.roc_area, made.right, made.chances, np.ones((1, len(made.right))))
        parts = {label: float(area) for label, area in zip(made.labels, areas[:, 0], strict=True) if not np.isnan(area)}
        return [Score("roc_auc", float(ranking.macro(areas)[0]), parts=parts)]

    def resample(self, judged: Judged, counts: Any) -> dict[str, Any]:
        """The score of each resample (of the first ones only, for a very large test set); ``counts`` [resamples, rows]."""
        made = decisions(judged)
        return {"roc_auc": ranking.macro(ranking.per_class(ranking.roc_area, made.right, made.chances, counts))}

    def figures(self, judged: Judged) -> dict[str, Any]:
        """``roc_curve`` over all decisions together (micro): ``x`` false-positive rate, ``y`` true-positive rate."""
        made = decisions(judged)
        hits, false = ranking.steps(made.right.ravel(), made.chances.ravel())
        if not len(hits) or not hits[-1] or not false[-1]:
            return {}
        return {"roc_curve": ranking.thinned(np.r_[0, false / false[-1]], np.r_[0, hits / hits[-1]])}


plugin = RocAuc()
