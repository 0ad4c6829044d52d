"""Costs that cannot be used are refused before anything runs."""

from __future__ import annotations

import pytest

from luthier.core.errors import SpecError
from luthier.core.plan import EvaluatePlan
from luthier.stages.evaluate.checks import check_costs

SCHEMA = {"labels": ["billing", "fraud"], "multi_label": False}


@pytest.mark.parametrize("costs", [{"fruad": {"billing": 9.0}}, {"billing": {"fruad": 9.0}}])
def test_a_label_that_is_none(costs: dict[str, dict[str, float]]) -> None:
    with pytest.raises(SpecError, match=r"evaluate\.costs: unknown label 'fruad'") as caught:
        check_costs(EvaluatePlan(costs=costs), SCHEMA)
    assert caught.value.path == "evaluate.costs"
    assert "did you mean 'fraud'" in caught.value.hint


def test_costs_are_for_one_label_a_row() -> None:
    costs = {"fraud": {"billing": 9.0}}
    check_costs(EvaluatePlan(costs=costs), SCHEMA)
    check_costs(EvaluatePlan(), {**SCHEMA, "multi_label": True})
    with pytest.raises(SpecError, match="is for one label a row"):
        check_costs(EvaluatePlan(costs=costs), {**SCHEMA, "multi_label": True})
