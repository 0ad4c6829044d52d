"""What validation rows teach about a model's confidence: temperature, label thresholds, when to abstain, what is out of scope.

Everything here is fitted on validation rows and only used on test rows. ``task.decode`` is the judge, so it holds for serving as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from luthier.core import registry
from luthier.core.hooks import calibrated
from luthier.core.ports import Judged
from luthier.core.types import Calibration
from luthier.core.writing import writes
from luthier.stages.evaluate.scoring import right_rows
from luthier.stages.evaluate.subject import Subject, listed

MOST_ROWS = 4000
"""Validation rows that the temperature is fitted on: one number does not need more."""
TEMPERED = ("temperature", "energy_quantiles", "abstain_below")
"""Of a calibration: how sure an answer is. The rest says which answer it is."""
QUANTILES = 101
FEW_POSITIVES = 5
"""A label with fewer positive validation rows gets the threshold of all labels together."""


def fit(subject: Subject, outputs: dict[str, Any]) -> Calibration:
    """The calibration for ``task.decode``; without validation rows, or where the task writes, the costs alone, which are given.

    ``outputs`` are the model's on the validation rows.
    """
    examples = subject.validation
    given = decision_rule(subject)
    if not examples or writes(subject.task):
        return given
    calibration: Calibration = dict(given)
    if "logits" in outputs:
        calibration["temperature"] = _temperature(subject, outputs)
        if subject.schema.get("multi_label"):
            calibration["thresholds"] = thresholds(subject.judged(examples, outputs, calibration))
        calibration["energy_quantiles"] = energy_quantiles(outputs["logits"])
    calibration |= calibrated(subject.task, subject.judged(examples, outputs, calibration), subject.job.plan.evaluate)
    risk = subject.job.plan.evaluate.abstain_risk
    judged = subject.judged(examples, outputs, calibration)
    calibration["abstain_below"] = abstain_below(_confidence(judged), right_rows(judged), risk)
    return calibration


def decision_rule(subject: Subject) -> Calibration:
    """How every contender decides from its chances: by the costs when they are given, else the likeliest class, or chances from 0.5."""
    costs = subject.job.plan.evaluate.costs
    return {"costs": costs} if costs else {}


def _temperature(subject: Subject, outputs: dict[str, Any]) -> float:
    """The temperature of least log loss (Guo et al. 2017, arXiv 1706.04599); 1.0 when the task has no calibration metric."""
    from scipy.optimize import minimize_scalar

    if "calibration" not in subject.task.metrics:
        return 1.0
    some = np.linspace(0, len(subject.validation) - 1, min(MOST_ROWS, len(subject.validation))).astype(int)
    examples, logits = [subject.validation[row] for row in some], np.asarray(outputs["logits"])[some]
    metric = registry.get("metrics", "calibration")

    def loss(power: float) -> float:
        judged = subject.judged(examples, {"logits": logits}, {"temperature": float(np.exp(power))})
        return float(next(score.value for score in metric.compute(judged) if score.name == "nll"))

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded", options={"xatol": 0.005})
    return round(float(np.exp(found.x)), 6)


def thresholds(judged: Judged) -> dict[str, float]:
    """For several labels: the chance from which each label is given, by its best F1."""
    names = list(judged.predictions[0].scores)
    chances = np.array([[prediction.scores[name] for name in names] for prediction in judged.predictions])
    targets = [set(listed(example.target)) for example in judged.examples]
    right = np.array([[name in target for name in names] for target in targets])
    together = _best_threshold(chances.ravel(), right.ravel())
    return {
        name: _best_threshold(chances[:, column], right[:, column]) if right[:, column].sum() >= FEW_POSITIVES else together
        for column, name in enumerate(names)
    }


def _best_threshold(chances: Any, right: Any) -> float:
    """Halfway between the last chance that is taken and the next one; 0.5 when nothing is right."""
    if not right.any():
        return 0.5
    order = np.argsort(-chances, kind="stable")
    hits = np.cumsum(right[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + hits[-1])
    last = int(f1.argmax())
    following = chances[order[last + 1]] if last + 1 < len(order) else 0.0
    return round(float(chances[order[last]] + following) / 2, 6)


def energy_quantiles(logits: Any) -> list[float]:
    """Evenly spaced quantiles of log-sum-exp(logits) (Liu et al. 2020, arXiv 2010.03759)."""
    values = np.asarray(logits, dtype=np.float64)
    top = values.max(axis=1)
    energy = top + np.log(np.exp(values - top[:, None]).sum(axis=1))
    return [round(float(value), 6) for value in np.quantile(energy, np.linspace(0, 1, QUANTILES))]


def abstain_below(confidence: Any, right: Any, risk: float) -> float:
    """The lowest confidence from which the answers' error rate is at most ``risk``: 0 when all may be answered, 1 when none may.

    The rule of selective classification (Geifman and El-Yaniv 2017, arXiv 1705.08500), without their correction for few rows.
    """
    order = np.argsort(-confidence, kind="stable")
    falling = confidence[order]
    errors = np.cumsum(~right[order]) / np.arange(1, len(order) + 1)
    ends = np.r_[falling[1:] != falling[:-1], True]
    fine = np.flatnonzero((errors <= risk) & ends)
    if not len(fine):
        return 1.0
    last = int(fine[-1])
    return 0.0 if last == len(order) - 1 else float((falling[last] + falling[last + 1]) / 2)


def _confidence(judged: Judged) -> Any:
    return np.array([prediction.confidence for prediction in judged.predictions])


def coverage(judged: Judged, below: float) -> dict[str, float]:
    """``coverage`` (share of rows answered), ``error`` (of those), ``rows``, with the abstain threshold ``below``."""
    answered = _confidence(judged) >= below
    right = right_rows(judged)
    error = float((~right[answered]).mean()) if answered.any() else 0.0
    return {"coverage": float(answered.mean()), "error": error, "rows": len(right), "answered": int(answered.sum())}


def report(subject: Subject, calibration: Calibration, validation: dict[str, Any], test: Judged) -> dict[str, Any]:
    """What the calibration did: ECE, Brier and log loss of the test rows before and after, and what abstaining gives."""
    before = subject.judged(test.examples, test.outputs, {k: v for k, v in calibration.items() if k not in TEMPERED})
    found: dict[str, Any] = {"temperature": calibration.get("temperature", 1.0), "fitted_on": "validation", "rows": len(subject.validation)}
    if "calibration" in subject.task.metrics:
        metric = registry.get("metrics", "calibration")
        for when, judged in (("before", before), ("after", test)):
            found[when] = {score.name: score.value for score in metric.compute(judged)}
        found["reliability_before"] = metric.figures(before).get("reliability", [])
    if "abstain_below" in calibration:
        below = calibration["abstain_below"]
        known = subject.judged(subject.validation, validation, calibration)
        found["abstain"] = {
            "risk": subject.job.plan.evaluate.abstain_risk,
            "below": below,
            "validation": coverage(known, below),
            "test": coverage(test, below),
        }
    return found


def without_costs(subject: Subject, judged: Judged) -> Judged:
    """The same outputs answered with the likeliest class, but still paying the costs."""
    plain = {key: value for key, value in judged.calibration.items() if key != "costs"}
    return replace(subject.judged(judged.examples, judged.outputs, plain), calibration=judged.calibration)
