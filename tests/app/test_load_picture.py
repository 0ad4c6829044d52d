"""The page of a load test: well formed, complete, and it asks nobody."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from luthier.app import load_picture
from luthier.client.load.measuring import Load
from luthier.client.load.objective import objectives
from luthier.client.load.step import Step


def said() -> dict[str, Any]:
    load = Load("a<b", "http://far:8000", 64, objectives(["p95=50ms", "p99=200ms"]), 3, best=20.0, limited_by="server")
    load.steps = [
        Step(40.0, 5.0, [0.2] * 200, answered=100, unanswered=50, late=[0.1] * 200),
        Step(20.0, 5.0, [0.01] * 100, answered=100, late=[0.001] * 100),
    ]
    return load.as_json()


def test_the_page_has_a_picture_every_step_and_no_address_to_load_from() -> None:
    page = load_picture.page(said())
    picture = re.search(r"<svg.*?</svg>", page)
    assert picture
    tree = ElementTree.fromstring(picture[0])
    dots = [one for one in tree.iter() if one.tag.endswith("circle")]
    assert len(dots) == 6
    assert sum(one.get("fill") == load_picture.MISSED for one in dots) == 3
    assert len([one for one in tree.iter() if one.get("stroke-dasharray") == "6 4"]) == 2
    assert "a&lt;b" in page
    assert "a<b" not in page
    assert not re.search(r"(src|href)=", page)
    assert page == load_picture.page(said())


def test_a_row_says_lower_bounds_and_a_generator_that_was_behind() -> None:
    slow, good = said()["steps"]
    assert load_picture.row(slow)[4].startswith(">")
    assert load_picture.row(slow)[-1] == "misses p95=50ms (generator behind)"
    assert load_picture.row(good)[-1] == "within"
    assert [step["rate_per_s"] for step in load_picture.ordered([slow, good])] == [20.0, 40.0]


def test_the_verdict() -> None:
    found = said()
    assert load_picture.verdict(found).startswith("20 requests/s stay within p95=50ms, p99=200ms, errors=1%")
    assert load_picture.verdict(found | {"limited_by": "time"}).startswith("at least 20")
    assert "no load" in load_picture.verdict(found | {"best_per_s": 0.0})
    assert "<svg" in load_picture.page(found | {"best_per_s": 0.0, "steps": []})
