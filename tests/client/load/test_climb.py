"""The search for the highest load, on servers that are a formula."""

from __future__ import annotations

import pytest

from luthier.client.load.climb import PRECISION, Climb


def searched(climb: Climb, limit: float, capacity: float, *, chance: dict[int, bool] | None = None) -> list[float]:
    """The loads that were tried on a server that holds up to ``limit``; ``chance``: tries that end otherwise."""
    tried: list[float] = []
    while (rate := climb.next()) and len(tried) < 60:
        tried.append(rate)
        held = (chance or {}).get(len(tried), rate <= limit)
        climb.add(held=held, saturated=rate > capacity)
    return tried


@pytest.mark.parametrize("limit", [3.0, 40.0, 777.0])
def test_it_finds_the_limit_and_goes_to_saturation(limit: float) -> None:
    climb = Climb(10.0)
    tried = searched(climb, limit, 3 * limit)
    assert limit / PRECISION <= climb.best <= limit
    assert max(tried) > 2 * limit
    assert tried.count(climb.best) == 2  # once more, with other arrivals
    assert climb.confirmed
    assert len(tried) < 20


def test_a_server_that_never_holds_is_tried_with_less_and_then_left() -> None:
    climb = Climb(64.0)
    assert searched(climb, 0.0, 1e9) == [64.0, 16.0, 4.0, 1.0]
    assert climb.best == 0.0


def test_one_unlucky_step_is_no_wall_and_one_lucky_step_no_limit() -> None:
    unlucky = Climb(10.0)
    searched(unlucky, 300.0, 600.0, chance={2: False})
    assert 300.0 / PRECISION <= unlucky.best <= 300.0
    lucky = Climb(10.0)
    tried = searched(lucky, 100.0, 600.0, chance={5: True})  # 160 a second held once
    assert tried[4] == 160.0
    assert lucky.best <= 100.0


def test_what_is_left_shrinks() -> None:
    climb, left = Climb(10.0), []
    while climb.next():
        left.append(climb.left)
        climb.add(held=climb._tried <= 100, saturated=climb._tried > 200)
    assert left[-1] <= 1 < left[0]
