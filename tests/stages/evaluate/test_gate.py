"""The gate's bars: absolute, lower-is-better, and against the current deployment."""

from __future__ import annotations

from typing import Any

from luthier.core.plan import EvaluatePlan
from luthier.stages.evaluate.gate import decide


def _evaluation(accuracy: float, ece: float = 0.03, rows: str = "x") -> dict[str, Any]:
    scores = {"accuracy": {"value": accuracy, "higher_is_better": True}, "ece": {"value": ece, "higher_is_better": False}}
    return {"primary_metric": "accuracy", "scores": scores, "test_rows_id": rows}


def test_bars_with_their_figures() -> None:
    passed, reasons = decide(_evaluation(0.912), EvaluatePlan(bars={"accuracy": 0.85}), None)
    assert passed
    assert reasons == ["accuracy 0.912 >= 0.850 passed"]
    passed, reasons = decide(_evaluation(0.8), EvaluatePlan(bars={"accuracy": 0.85, "max_ece": 0.05}), None)
    assert not passed
    assert reasons == ["accuracy 0.800 < 0.850 missed", "ece 0.030 <= 0.050 passed"]


def test_lower_is_better() -> None:
    assert not decide(_evaluation(0.9, ece=0.2), EvaluatePlan(bars={"ece": 0.05}), None)[0]


def test_a_bar_that_names_nothing_is_missed() -> None:
    passed, reasons = decide(_evaluation(0.9), EvaluatePlan(bars={"accurcy": 0.5}), None)
    assert not passed
    assert "accurcy was not measured" in reasons[0]


def test_against_the_deployed_model() -> None:
    plan = EvaluatePlan(max_drop=0.01)
    assert decide(_evaluation(0.895), plan, _evaluation(0.90))[0]
    passed, reasons = decide(_evaluation(0.87), plan, _evaluation(0.90))
    assert not passed
    assert "0.030 lost, 0.010 allowed: missed" in reasons[0]
    assert "other test rows" in decide(_evaluation(0.9), plan, _evaluation(0.9, rows="y"))[1][0]


def test_without_bars_it_passes_and_says_so() -> None:
    assert decide(_evaluation(0.1), EvaluatePlan(), None) == (True, ["no bar is set and nothing is deployed yet: passed"])
