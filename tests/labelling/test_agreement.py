"""Agreement, by values that can be worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.labelling import agreement
from luthier.labelling.log import Entry, State


def state(first: list[Any], second: list[Any]) -> tuple[State, dict[str, str]]:
    entries = [
        Entry(2 * row + number, str(row), author, 0.0, "correct", value)
        for row, pair in enumerate(zip(first, second, strict=True))
        for number, (author, value) in enumerate(zip(("ann", "bob"), pair, strict=True))
        if value is not None
    ]
    return State(entries), {str(row): "a b c d" for row in range(len(first))}


def test_kappa_of_cohens_own_kind_of_table() -> None:
    """20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: p 0.7, by chance 0.5, kappa 0.4."""
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    (pair,) = agreement.pairs("label", *state(first, second))
    assert (pair["authors"], pair["rows"], pair["agreed"]) == (["ann", "bob"], 50, 35)
    assert pair["kappa"] == pytest.approx(0.4)
    assert len(pair["disagreements"]) == 15
    assert pair["disagreements"][0]["labels"] == {"ann": "yes", "bob": "no"}


def test_who_always_says_the_same_has_no_kappa() -> None:
    (pair,) = agreement.pairs("label", *state(["yes"] * 3, ["yes"] * 3))
    assert pair["kappa"] is None
    assert pair["share"] == 1.0


def test_only_rows_that_both_labelled_count() -> None:
    (pair,) = agreement.pairs("label", *state(["a", "b", "a", None], ["a", "b", None, "b"]))
    assert (pair["rows"], pair["kappa"]) == (2, 1.0)
    assert agreement.pairs("label", *state(["a", None], [None, "a"])) == []


def test_several_labels_have_a_kappa_each() -> None:
    (pair,) = agreement.pairs("labels", *state([["x"], ["x", "y"], [], ["y"]], [["x"], ["x"], [], ["y"]]))
    assert pair["kappa_by_label"]["x"] == 1.0
    assert pair["kappa_by_label"]["y"] == pytest.approx(0.5)
    assert pair["kappa"] == pytest.approx(0.75)
    assert [one["row"] for one in pair["disagreements"]] == ["1"]


def test_spans_have_f1_and_kappa_over_words() -> None:
    a, b = {"start": 0, "end": 1, "label": "x"}, {"start": 2, "end": 3, "label": "x"}
    (pair,) = agreement.pairs("spans", *state([[a, b], []], [[a], []]))
    assert pair["f1"] == pytest.approx(2 / 3)
    assert 0 < pair["kappa"] < 1
    (same,) = agreement.pairs("spans", *state([[a], []], [[a], []]))
    assert (same["f1"], same["kappa"]) == (1.0, 1.0)
