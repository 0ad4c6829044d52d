"""Objectives as text: what is right is understood, what is wrong is said."""

from __future__ import annotations

import math

import pytest

from luthier.client.load.objective import Objective, loosest_ms, objectives, parse, tightest_ms
from luthier.core.errors import InputError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("p95=50ms", Objective("p95", 50.0)),
        ("p99=1.5s", Objective("p99", 1500.0)),
        (" P50 = .5 s ", Objective("p50", 500.0)),
        ("errors=1%", Objective("errors", 0.01)),
        ("errors=0%", Objective("errors", 0.0)),
    ],
)
def test_what_is_right_is_understood(text: str, found: Objective) -> None:
    assert parse(text) == found
    assert parse(str(found)) == found


@pytest.mark.parametrize(
    "text", ["", "p95", "p95=50", "p95=-1ms", "p95=0ms", "p90=50ms", "p95<50ms", "errors=1", "errors=101%", "p95=50min"]
)
def test_what_is_wrong_names_the_text_and_the_remedy(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text)
    assert repr(text) in caught.value.message
    assert "p95=50ms" in caught.value.hint


def test_several_in_one_text_and_errors_always() -> None:
    assert [str(one) for one in objectives(["p95=50ms,p99=1s"])] == ["p95=50ms", "p99=1000ms", "errors=1%"]
    assert [str(one) for one in objectives([])] == ["p95=100ms", "errors=1%"]
    assert [str(one) for one in objectives(["errors=2%"])] == ["errors=2%"]
    with pytest.raises(InputError, match="p95 has two limits"):
        objectives(["p95=50ms", "p95=1s"])


def test_the_tightest_and_the_loosest_latency() -> None:
    found = objectives(["p95=50ms,p99=1s"])
    assert (tightest_ms(found), loosest_ms(found)) == (50.0, 1000.0)
    assert tightest_ms(objectives(["errors=2%"])) == math.inf
