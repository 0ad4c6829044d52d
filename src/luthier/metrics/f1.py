"""F1, precision and recall: per class, and averaged over classes (macro), decisions (micro) or rows (weighted)."""

from __future__ import annotations

from typing import Any

import numpy as np

from luthier.core.ports import Judged
from luthier.core.types import Score
from luthier.metrics._decisions import Decisions, decisions


class F1:
    """``macro_f1`` first, then ``micro_f1``, ``weighted_f1``, and precision and recall averaged in the same three ways; all in [0, 1].

    Like scikit-learn: averages go over classes that occur among the targets or the answers, and 0/0 is 0. ``support`` is in ``figures``.
    """

    name = "f1"
    summary = "F1, precision and recall per class, macro, micro and weighted"
    scores = tuple(f"{average}_{name}" for name in ("f1", "precision", "recall") for average in ("macro", "micro", "weighted"))

    def compute(self, judged: Judged) -> list[Score]:
        """Nine scores; ``parts`` of the macro ones are per class."""
        made = decisions(judged)
        hits, answered, present = _counts(made, np.ones((1, len(made.right))))
        shares = {"precision": _share(hits, answered)[0], "recall": _share(hits, present)[0], "f1": _share(2 * hits, answered + present)[0]}
        parts = {
            name: {label: float(value) for label, value, seen in zip(made.labels, values, (answered + present)[0] > 0, strict=True) if seen}
            for name, values in shares.items()
        }
        averaged = {name: float(values[0]) for name, values in _averages(hits, answered, present).items()}
        parts_of = {"macro_f1": parts["f1"], "macro_precision": parts["precision"], "macro_recall": parts["recall"]}
        return [Score(name, value, parts=parts_of.get(name, {})) for name, value in averaged.items()]

    def resample(self, judged: Judged, counts: Any) -> dict[str, Any]:
        """Every score of each resample; ``counts`` [resamples, rows]."""
        return _averages(*_counts(decisions(judged), counts))

    def figures(self, judged: Judged) -> dict[str, Any]:
        """``per_class``: label, precision, recall, f1, support (rows whose target it is), answered (rows where it was the answer)."""
        made = decisions(judged)
        hits, answered, present = (array[0] for array in _counts(made, np.ones((1, len(made.right)))))
        columns = (_share(hits, answered), _share(hits, present), _share(2 * hits, answered + present), present, answered)
        names = ("precision", "recall", "f1", "support", "answered")
        table = [
            {"label": label, **{name: float(value) for name, value in zip(names, values, strict=True)}}
            for label, *values in zip(made.labels, *columns, strict=True)
        ]
        return {"per_class": table}


def _counts(made: Decisions, counts: Any) -> tuple[Any, Any, Any]:
    """Rightly chosen, chosen and right rows of each class: three arrays [resamples, classes]."""
    kind = counts.dtype
    return (
        counts @ (made.right & made.chosen).astype(kind),
        counts @ made.chosen.astype(kind),
        counts @ made.right.astype(kind),
    )


def _share(part: Any, whole: Any) -> Any:
    return np.divide(part, whole, out=np.zeros_like(part, dtype=np.float64), where=whole > 0)


def _averages(hits: Any, answered: Any, present: Any) -> dict[str, Any]:
    """Scores by name, each [resamples]."""
    seen = (answered + present) > 0
    classes = np.maximum(seen.sum(axis=1), 1)
    total = np.maximum(present.sum(axis=1), 1e-12)
    found: dict[str, Any] = {}
    for name, part, whole in (("f1", 2 * hits, answered + present), ("precision", hits, answered), ("recall", hits, present)):
        each = _share(part, whole)
        found |= {
            f"macro_{name}": (each * seen).sum(axis=1) / classes,
            f"micro_{name}": _share(part.sum(axis=1), whole.sum(axis=1)),
            f"weighted_{name}": (each * present).sum(axis=1) / total,
        }
    return found


plugin = F1()
