"""What moving a threshold does: answering less against erring less, and for two classes false negatives against false positives."""

from __future__ import annotations

from typing import Any

import numpy as np

from luthier.core import registry
from luthier.core.ports import Judged
from luthier.stages.evaluate.calibrate import without_costs
from luthier.stages.evaluate.scoring import right_rows
from luthier.stages.evaluate.subject import Subject

POINTS = 101


def coverage_curve(judged: Judged) -> list[dict[str, float]]:
    """Error rate of the answered share when only the surest rows are answered, at ``POINTS`` shares."""
    confidence = np.array([prediction.confidence for prediction in judged.predictions])
    order = np.argsort(-confidence, kind="stable")
    errors = np.cumsum(~right_rows(judged)[order]) / np.arange(1, len(order) + 1)
    places = np.unique(np.linspace(0, len(order) - 1, min(POINTS, len(order))).astype(int))
    return [
        {
            "coverage": round((place + 1) / len(order), 5),
            "error": round(float(errors[place]), 5),
            "threshold": round(float(confidence[order[place]]), 6),
        }
        for place in places
    ]


def binary_curve(judged: Judged, costs: dict[str, dict[str, float]]) -> dict[str, Any]:
    """For two classes: false negatives, false positives and their cost at each threshold of the positive class; else ``{}``.

    Positive is the class that is dearer to miss, or with equal costs the rarer one.
    """
    labels = list(judged.predictions[0].scores) if judged.predictions else []
    if len(labels) != 2 or judged.schema.get("multi_label"):
        return {}
    right = np.array([example.target for example in judged.examples])
    price = {a: float(costs.get(a, {}).get(b, 1.0)) for a, b in (labels, labels[::-1])}
    positive = max(labels, key=lambda label: (price[label], -int((right == label).sum())))
    negative = next(label for label in labels if label != positive)
    chance = np.array([prediction.scores[positive] for prediction in judged.predictions])
    rows = []
    for threshold in np.linspace(0, 1, POINTS):
        chosen = chance >= threshold
        missed, false = int(((right == positive) & ~chosen).sum()), int(((right == negative) & chosen).sum())
        hits = int(((right == positive) & chosen).sum())
        paid = (missed * price[positive] + false * price[negative]) / max(len(right), 1)
        rows.append(
            {
                "threshold": round(float(threshold), 4),
                "false_negatives": missed,
                "false_positives": false,
                "precision": hits / max(hits + false, 1),
                "recall": hits / max(hits + missed, 1),
                "cost": paid,
            }
        )
    best = price[negative] / (price[negative] + price[positive]) if price[negative] + price[positive] else 0.5
    return {"positive": positive, "least_expected_cost_at": best, "points": rows}


def costs(subject: Subject, judged: Judged) -> dict[str, Any]:
    """Mean cost on the test rows when the least expected cost decides, against the likeliest class; ``{}`` without a cost matrix."""
    given = subject.job.plan.evaluate.costs
    if not given or "cost" not in subject.task.metrics:
        return {}
    metric = registry.get("metrics", "cost")
    chosen, likeliest = metric.compute(judged)[0].value, metric.compute(without_costs(subject, judged))[0].value
    saved = likeliest - chosen
    return {
        "costs": given,
        "mean_cost": chosen,
        "mean_cost_of_likeliest": likeliest,
        "saved": saved,
        "saying": f"deciding by least expected cost pays {chosen:.4f} a row, the likeliest class {likeliest:.4f}: "
        + (f"{saved / likeliest:.0%} saved" if likeliest and saved > 0 else "nothing saved"),
    }
