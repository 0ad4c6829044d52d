"""Traffic tables, who is answered by which version, and the moves of a rollout."""

from __future__ import annotations

from collections import Counter

import pytest

from luthier.core.errors import InputError
from luthier.core.rollout import (
    BUCKETS,
    MOVES,
    alpha_of_look,
    bucket_of,
    check_steps,
    check_traffic,
    chosen,
    look_due,
    may_move,
    move_after,
)


def test_a_table_that_does_not_sum_to_100_is_refused_with_its_sum() -> None:
    check_traffic({"v1": 95, "v2": 5})
    with pytest.raises(InputError, match=r"sum to 90, not 100 \(v1 60, v2 30\)"):
        check_traffic({"v1": 60, "v2": 30})
    with pytest.raises(InputError, match="v2 has -5 %"):
        check_traffic({"v2": -5, "v1": 105})
    with pytest.raises(InputError, match="sum to 0"):
        check_traffic({})


def test_steps_rise_and_end_with_everything() -> None:
    assert check_steps([5, 25]) == [5, 25, 100]
    assert check_steps([5, 100]) == [5, 100]
    for wrong in ([], [0, 100], [5, 5], [25, 5], [101]):
        with pytest.raises(InputError, match="rising"):
            check_steps(wrong)


def test_the_shares_are_kept_to_the_bucket() -> None:
    table = [("v1", 70), ("v2", 25), ("v3", 5)]
    assert Counter(chosen(table, bucket) for bucket in range(BUCKETS)) == {"v1": 7000, "v2": 2500, "v3": 500}


def test_whom_a_canary_answers_it_goes_on_to_answer() -> None:
    before: set[str] = set()
    for share in (1, 5, 25, 60, 100):
        now = {str(n) for n in range(2000) if chosen([("v1", 100 - share), ("v2", share)], bucket_of("support", str(n))) == "v2"}
        assert before <= now
        assert abs(len(now) / 2000 - share / 100) < 0.03
        before = now


def test_a_step_is_judged_when_its_answers_double_and_at_its_end() -> None:
    def due(answers: int, against: int, elapsed: float, next_look: int = 50) -> str:
        return look_due(answers, against, least=50, next_look=next_look, elapsed_s=elapsed, step_s=600)

    assert due(49, 900, 10_000) == "wait"
    assert due(900, 49, 10_000) == "wait"
    assert due(50, 50, 1) == "look"
    assert due(60, 900, 1, next_look=100) == "wait"
    assert due(60, 900, 600, next_look=100) == "last"


def test_all_looks_together_spend_no_more_than_alpha() -> None:
    assert sum(alpha_of_look(0.01, number) for number in range(10_000)) <= 0.01


def test_moves() -> None:
    assert move_after("look", broken=False, step=0, steps=3) == ("running", 0)
    assert move_after("last", broken=False, step=0, steps=3) == ("running", 1)
    assert move_after("last", broken=False, step=1, steps=3) == ("promoted", 2)
    assert move_after("look", broken=True, step=1, steps=3) == ("rolled_back", 1)
    for old in MOVES:
        assert may_move(old, "promoted") == (old == "running")
