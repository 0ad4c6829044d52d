"""PR-AUC: average precision, the area under the precision-recall curve (one against the rest, macro); it says most on rare classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from luthier.core.ports import Judged
from luthier.core.types import Score
from luthier.metrics import _ranking as ranking
from luthier.metrics._decisions import decisions


class PrAuc:
    """``pr_auc`` in [0, 1]: mean over the classes that have rows; chance is each class's own share."""

    name = "pr-auc"
    summary = "area under the precision-recall curve, one class against the rest"

    def compute(self, judged: Judged) -> list[Score]:
        """One score; ``parts`` per class."""
        made = decisions(judged)
        areas = ranking.per_class(ranking.precision_area, made.right, made.chances, np.ones((1, len(made.right))))
        parts = {label: float(area) for label, area in zip(made.labels, areas[:, 0], strict=True) if not np.isnan(area)}
        return [Score("pr_auc", float(ranking.macro(areas)[0]), parts=parts)]

    def resample(self, judged: Judged, counts: Any) -> dict[str, Any]:
        """The score of each resample (of the first ones only, for a very large test set); ``counts`` [resamples, rows]."""
        made = decisions(judged)
        return {"pr_auc": ranking.macro(ranking.per_class(ranking.precision_area, made.right, made.chances, counts))}

    def figures(self, judged: Judged) -> dict[str, Any]:
        """``pr_curve`` over all decisions together (micro): ``x`` recall, ``y`` precision."""
        made = decisions(judged)
        hits, false = ranking.steps(made.right.ravel(), made.chances.ravel())
        if not len(hits) or not hits[-1]:
            return {}
        return {"pr_curve": ranking.thinned(np.r_[0, hits / hits[-1]], np.r_[1.0, hits / (hits + false)])}


plugin = PrAuc()
