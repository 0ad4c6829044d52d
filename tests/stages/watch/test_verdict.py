"""The rules of a canary: a version that is no worse is seldom sent back, and one that is worse is."""

from __future__ import annotations

import numpy as np
import pytest

from luthier.core.events import FeedbackGiven, PredictionAnswered, PredictionFailed
from luthier.core.plan import RolloutPlan
from luthier.stages.watch.verdict import Step, Tally, judge, rises
from luthier.store.database import connect
from luthier.store.journal import Journal

RULES = RolloutPlan()


def tally(rng: np.random.Generator, count: int, *, errors: float = 0.005, ms: float = 10.0, sure: float = 0.8, mix: float = 0.5) -> Tally:
    made = Tally(failed=int(rng.binomial(count, errors)))
    count -= made.failed
    made.latency_ms = list(rng.gamma(4, ms / 4, count))
    made.confidence = list(np.clip(rng.normal(sure, 0.1, count), 0, 1))
    first = int(rng.binomial(count, mix))
    made.labels.update({"refund": first, "parcel": count - first})
    made.up = int(rng.binomial(40, 0.8))
    made.down = 40 - made.up
    return made


def broken(candidate: Tally, against: Tally, alpha: float = 0.01) -> list[str]:
    return [one.rule for one in judge(RULES, candidate, against, alpha) if one.broken]


def test_one_that_is_no_worse_is_sent_back_at_most_as_often_as_alpha_says() -> None:
    rng = np.random.default_rng(1)
    runs = 400
    false = sum(bool(broken(tally(rng, 100), tally(rng, 1500), 0.05)) for _ in range(runs))
    assert false <= 0.05 * runs + 2 * (0.05 * 0.95 * runs) ** 0.5


@pytest.mark.parametrize(
    ("rule", "worse"),
    [("errors", {"errors": 0.15}), ("p95", {"ms": 30.0}), ("confidence", {"sure": 0.6}), ("drift", {"mix": 0.95})],
)
def test_each_rule_finds_its_loss(rule: str, worse: dict[str, float]) -> None:
    rng = np.random.default_rng(2)
    found = [broken(tally(rng, 200, **worse), tally(rng, 2000)) for _ in range(20)]
    assert sum(rule in one for one in found) >= 19
    assert {other for one in found for other in one} == {rule}


def test_unhappy_people_send_it_back_and_the_decision_says_its_numbers() -> None:
    rng = np.random.default_rng(3)
    worse, before = tally(rng, 200), tally(rng, 2000)
    worse.up, worse.down, before.up, before.down = 10, 30, 90, 10
    (finding,) = [one for one in judge(RULES, worse, before, 0.01) if one.broken]
    assert finding.rule == "satisfaction"
    assert finding.said.startswith("satisfaction 0.250 (10 of 40) against 0.900 (90 of 100), 0.100 less allowed, p ")


def test_a_difference_within_the_margin_is_kept() -> None:
    assert rises(30, 1000, 20, 1000, 0.02) > 0.5
    assert rises(100, 1000, 20, 1000, 0.02) < 1e-6


def test_a_step_is_read_on_from_where_it_was(tmp_path) -> None:
    journal = Journal(connect(f"sqlite:///{tmp_path / 'journal.db'}"))
    said = {"endpoint": "support", "export": "e", "output": "refund", "confidence": 0.9, "latency_ms": 5.0}
    journal.append([PredictionAnswered(**said, id="old", version="v1", at=50.0)])
    journal.append([PredictionAnswered(**said, id=str(n), version=("v1", "v2")[n % 2], at=100.0 + n) for n in range(6)])
    step = Step("support", 100.0)
    step.read(journal)
    assert {name: one.asked for name, one in step.tallies.items()} == {"v1": 3, "v2": 3}
    failures = [PredictionFailed(endpoint="support", code=code, message="m", version="v2", at=200) for code in ("error", "invalid_input")]
    journal.append(
        [*failures, FeedbackGiven(endpoint="support", id="1", thumbs="down", at=201), FeedbackGiven(endpoint="else", id="2", thumbs="up")]
    )
    step.read(journal)
    assert (step.of("v2").failed, step.of("v2").down, step.of("v1").up) == (1, 1, 0)
    assert step.of("v2").asked == 4


def test_where_both_fail_nothing_is_promoted() -> None:
    assert broken(Tally(failed=50), Tally(failed=50)) == ["errors"]
