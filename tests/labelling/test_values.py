"""What a label may be, by kind."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.core.errors import InputError, UnknownName
from luthier.labelling.values import check_kind, checked, known_labels, labels_in, marks

TEXT = "send it to Berlin on Monday"
CITY = {"start": 11, "end": 17, "label": "city"}
DAY = {"start": 21, "end": 27, "label": "day"}


def test_each_kind_has_one_form() -> None:
    assert checked("label", " refund ", TEXT, ["refund"]) == "refund"
    assert checked("label", ["refund"], TEXT, ["refund"]) == "refund"
    assert checked("labels", ["refund", "delivery", "refund"], TEXT, ["refund", "delivery"]) == ["delivery", "refund"]
    assert checked("labels", [], TEXT, []) == []
    assert checked("spans", [DAY | {"text": "Monday"}, CITY], TEXT, ["city", "day"]) == [CITY, DAY]


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("label", "", "not a text"),
        ("label", None, "not a text"),
        ("label", "x" * 201, "longer than"),
        ("label", "refnd", "'refnd' is not a label"),
        ("labels", {"a": 1}, "not a list"),
        ("labels", ["refund", 3], "not a text"),
        ("spans", "Berlin", "not a list"),
        ("spans", [CITY | {"end": 99}], "no part of a text of 27"),
        ("spans", [CITY | {"start": True}], "no part"),
        ("spans", [CITY, CITY | {"label": "day"}], "overlap"),
        ("spans", ["Berlin"], "spans\\[0\\]: is 'Berlin', not an object"),
    ],
)
def test_what_is_none_is_refused_with_its_place(kind: Any, value: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        checked(kind, value, TEXT, ["refund", "city", "day"])
    assert caught.value.hint


def test_an_unknown_label_is_told_the_nearest_and_may_be_new() -> None:
    with pytest.raises(InputError) as caught:
        checked("label", "refnd", TEXT, ["refund", "delivery"])
    assert "did you mean 'refund'" in caught.value.hint
    assert checked("label", "refnd", TEXT, ["refund"], new=True) == "refnd"


def test_labels_are_those_declared_and_those_used() -> None:
    assert labels_in("spans", [CITY, CITY | {"start": 12}]) == ["city"]
    assert known_labels("labels", ["c"], [["b", "a"], []]) == ["a", "b", "c"]
    assert marks("label", ["b", "a"], ["a", "b"]).tolist() == [[False, True], [True, False]]
    assert marks("labels", [["a", "b"], []], ["a", "b"]).tolist() == [[True, True], [False, False]]
    with pytest.raises(UnknownName, match="'span'"):
        check_kind("span")
