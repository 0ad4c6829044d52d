"""The rows that are asked next: unsure ones, no two alike, none that is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from luthier.labelling import choose


def unit(rows: Any) -> Any:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def groups() -> Any:
    """Ten tight groups of twenty rows each, [200, 16]; row n is of group n // 20."""
    draw = np.random.default_rng(1)
    return unit(np.repeat(unit(draw.normal(size=(10, 16))), 20, axis=0) + 0.01 * draw.normal(size=(200, 16)))


def test_the_first_rows_are_of_different_groups(groups: Any) -> None:
    rows = choose.next_rows(groups, None, groups[:0], 10, seed=3)
    assert len(set(rows // 20)) == 10
    assert len(set(np.random.default_rng(3).permutation(200)[:10] // 20)) < 10, "by chance they would not be"


def test_what_is_labelled_is_not_asked_again_in_other_words(groups: Any) -> None:
    seen = groups[:100:20]
    rows = choose.next_rows(groups, None, seen, 5, seed=3)
    assert set(rows // 20) == {5, 6, 7, 8, 9}


def test_only_unsure_rows_are_asked(groups: Any) -> None:
    unsure = np.zeros(200)
    unsure[40:90] = 1.0
    rows = choose.next_rows(groups, unsure, groups[:0], 10, seed=3)
    assert set(rows) <= set(range(40, 90))
    assert {2, 3, 4} == set(rows // 20)


def test_few_rows_and_equal_rows_are_all_asked(groups: Any) -> None:
    assert sorted(choose.next_rows(groups[:3], None, groups[:0], 10)) == [0, 1, 2]
    assert sorted(choose.next_rows(np.repeat(groups[:1], 4, axis=0), None, groups[:1], 4)) == [0, 1, 2, 3]
    assert len(choose.next_rows(groups[:0], None, groups[:0], 4)) == 0


def test_the_same_seed_chooses_the_same(groups: Any) -> None:
    first, again = (choose.next_rows(groups, None, groups[:0], 20, seed=5) for _ in range(2))
    assert first.tolist() == again.tolist()


def test_how_unsure_a_row_is() -> None:
    assert choose.margin(np.array([[0.5, 0.4, 0.1], [0.9, 0.05, 0.05]])) == pytest.approx([0.9, 0.15])
    assert choose.margin(np.array([[1.0]])) == pytest.approx([0.0])
    assert choose.least_decided(np.array([[0.5, 0.99], [0.9, 0.1], [0.0, 1.0]])) == pytest.approx([1.0, 0.2, 0.0])
