"""The gate before deployment: whether a model's evaluation passes the plan's bars, and is no worse than what is deployed now."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from luthier.core.plan import EvaluatePlan


def decide(evaluation: dict[str, Any], plan: EvaluatePlan, current: dict[str, Any] | None) -> tuple[bool, list[str]]:
    """Passed or not, and one sentence with figures for each bar.

    ``evaluation`` and ``current`` are contents of ``evaluation.json``; ``current`` is ``None`` when nothing is deployed. A bar on a score
    where lower is better (``ece``, also written ``max_ece``) is the greatest value allowed.
    """
    judged = [_bar(evaluation, name, bar) for name, bar in plan.bars.items()]
    if current is not None:
        judged.append(_against(evaluation, current, plan.max_drop))
    if not judged:
        return True, ["no bar is set and nothing is deployed yet: passed"]
    return all(passed for passed, _ in judged), [reason for _, reason in judged]


def score_meant(bar: str, known: Container[str]) -> str:
    """The score that a bar's name means: ``max_ece`` is a bar on ``ece``."""
    return bar if bar in known else bar.removeprefix("max_").removeprefix("min_")


def _bar(evaluation: dict[str, Any], name: str, bar: float) -> tuple[bool, str]:
    scores = evaluation.get("scores", {})
    plain = score_meant(name, scores)
    if plain not in scores:
        return False, f"{name} was not measured (known: {', '.join(sorted(scores)) or 'none'}): missed"
    value = float(scores[plain]["value"])
    least = bool(scores[plain].get("higher_is_better", True))
    passed = value >= bar if least else value <= bar
    sign = (">=" if passed else "<") if least else ("<=" if passed else ">")
    return passed, f"{plain} {value:.3f} {sign} {bar:.3f} {'passed' if passed else 'missed'}"


def _against(evaluation: dict[str, Any], current: dict[str, Any], max_drop: float) -> tuple[bool, str]:
    name = evaluation["primary_metric"]
    if name not in current.get("scores", {}):
        return True, f"the deployed model has no {name} to compare with: passed"
    value, before = float(evaluation["scores"][name]["value"]), float(current["scores"][name]["value"])
    better = bool(evaluation["scores"][name].get("higher_is_better", True))
    drop = before - value if better else value - before
    passed = drop <= max_drop + 1e-12
    same = evaluation.get("test_rows_id") == current.get("test_rows_id")
    other = "" if same else " (measured on other test rows, so only roughly comparable)"
    change = f"{name} {value:.3f} against {before:.3f} deployed{other}"
    allowed = f"{max(drop, 0.0):.3f} lost, {max_drop:.3f} allowed"
    return passed, f"{change}: {allowed}: {'passed' if passed else 'missed'}"
