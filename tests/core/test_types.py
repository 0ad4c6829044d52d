"""What travels: places, canonical JSON, and ids that are the same anywhere."""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.types import SPLITS, Artifact, Example, Finding, Place, Prediction, Refusal, Score, canonical_json, content_id

KNOWN = [
    ({"text": "The soup was cold"}, "f4fc67c83c9d41a1"),
    ({"text": "Größe – naïve 😀", "group": ""}, "40789fc2e5b7632a"),
    ([1, 1.5, None, True, "a"], "d9cc4a397d95b809"),
    ({}, "01e7b720ff566d53"),
]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    max_leaves=12,
)


def shuffled(value: Any, seed: int) -> Any:
    """The same value with every dictionary's keys in another order."""
    if isinstance(value, dict):
        items = list(value.items())
        random.Random(seed).shuffle(items)
        return {key: shuffled(inner, seed) for key, inner in items}
    return [shuffled(inner, seed) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("value", "wanted"), KNOWN)
def test_ids_never_change_between_versions(value: Any, wanted: str) -> None:
    """Datasets and answers that exist carry these ids: another way to hash would orphan them."""
    assert content_id(value) == wanted


def test_ids_do_not_depend_on_the_process() -> None:
    code = "from luthier.core.types import content_id; print(content_id({'b': {'x': 1, 'y': ['ä']}, 'a': None}))"
    found = {
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "LC_ALL": locale}, capture_output=True, text=True).stdout
        for seed, locale in (("1", "C"), ("2", "C.UTF-8"))
    }
    assert found == {content_id({"a": None, "b": {"y": ["ä"], "x": 1}}) + "\n"}


@given(values, st.integers(0, 100))
def test_the_order_of_keys_is_not_content(value: Any, seed: int) -> None:
    assert content_id(shuffled(value, seed)) == content_id(value)
    assert len(content_id(value)) == 16


@pytest.mark.parametrize(
    ("one", "other"),
    [([1, 2], [2, 1]), ("a", "A"), ("a", "a "), (None, ""), (None, "null"), ({}, []), ({"a": 1}, {"a": "1"}), ("é", "e\u0301")],
)
def test_different_content_has_different_ids(one: Any, other: Any) -> None:
    assert content_id(one) != content_id(other)


def test_canonical_json_is_one_short_text() -> None:
    assert canonical_json({"b": [1, 2.5], "a": "ü\n"}) == '{"a":"ü\\n","b":[1,2.5]}'
    with pytest.raises(TypeError):
        canonical_json({"a": {1, 2}})


def test_a_place_reads_like_an_editor_opens_it() -> None:
    assert str(Place("reviews.csv", 18)) == "reviews.csv:18"
    assert str(Place("reviews.csv")) == "reviews.csv"


@pytest.mark.parametrize(
    "value",
    [
        Example("1", {"text": "a"}),
        Prediction("1", "a", 0.5),
        Refusal("a.csv", 1, "text", "is empty", "fill it"),
        Score("f1", 0.5),
        Artifact("model-1", "model", "/x"),
        Finding("error", "code", "message"),
    ],
)
def test_what_travels_cannot_be_changed_on_the_way(value: Any) -> None:
    field = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, field, "other")


def test_default_fields_are_not_shared() -> None:
    assert Example("1", {}).columns is not Example("2", {}).columns
    assert SPLITS == ("train", "validation", "test")


def test_half_an_emoji_has_an_id_too() -> None:
    assert content_id({"text": "broken \ud83d emoji"}) == content_id({"text": "broken \ud83d emoji"})
    assert content_id("\ud83d") != content_id("\ude00")
