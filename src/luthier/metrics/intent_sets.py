"""Intent sets: whether a message that asks several things was understood as asking exactly these."""

from __future__ import annotations

from typing import Any

import numpy as np

from luthier.core.ports import Judged
from luthier.core.types import Score, names_in


class IntentSets:
    """``intent_set_accuracy``: the set is right (``parts``: by how many intents there are); ``intent_count_accuracy``: their number is.

    ``multi_intent_accuracy``: the set is right, among messages with several; only where there are such.
    """

    name = "intent-sets"
    summary = "messages with several intents: whether the set, and their number, is right"
    scores = ("intent_set_accuracy", "intent_count_accuracy", "multi_intent_accuracy")

    def compute(self, judged: Judged) -> list[Score]:
        """Two scores, or three."""
        sizes, right, counted = _rows(judged)
        parts = {str(size): float(right[sizes == size].mean()) for size in np.unique(sizes).tolist()}
        found = [
            Score("intent_set_accuracy", float(right.mean()) if len(right) else 0.0, parts=parts),
            Score("intent_count_accuracy", float(counted.mean()) if len(counted) else 0.0),
        ]
        several = sizes > 1
        return [*found, Score("multi_intent_accuracy", float(right[several].mean()))] if several.any() else found

    def resample(self, judged: Judged, counts: Any) -> dict[str, Any]:
        """The scores of each resample; ``counts`` [resamples, rows]."""
        sizes, right, counted = _rows(judged)
        rows, several = np.maximum(counts.sum(axis=1), 1), sizes > 1
        found = {"intent_set_accuracy": counts @ right / rows, "intent_count_accuracy": counts @ counted / rows}
        if several.any():
            found["multi_intent_accuracy"] = counts[:, several] @ right[several] / np.maximum(counts[:, several].sum(axis=1), 1)
        return found

    def figures(self, judged: Judged) -> dict[str, Any]:
        """None."""
        return {}


def _rows(judged: Judged) -> tuple[Any, Any, Any]:
    """[rows] each: how many intents the target has, whether the set is right, whether the number is."""
    targets = [set(names_in(example.target)) for example in judged.examples]
    outputs = [set(names_in(prediction.output)) for prediction in judged.predictions]
    sizes = np.array([len(one) for one in targets])
    right = np.array([a == b for a, b in zip(targets, outputs, strict=True)], dtype=np.float64)
    return sizes, right, np.array([len(a) == len(b) for a, b in zip(targets, outputs, strict=True)], dtype=np.float64)


plugin = IntentSets()
