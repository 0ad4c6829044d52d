"""Suggestions: neighbours from few labels, a linear model from enough, out of sample better than chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from luthier.labelling import suggest


@pytest.fixture
def rows() -> tuple[Any, Any]:
    """300 rows of 5 classes around a centre each, and their class."""
    draw = np.random.default_rng(2)
    classes = np.arange(300) % 5
    made = draw.normal(size=(5, 24))[classes] + 0.9 * draw.normal(size=(300, 24))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32), classes


def test_which_model_answers_follows_the_number_of_labels(rows: tuple[Any, Any]) -> None:
    vectors, classes = rows
    marks = np.eye(6, dtype=bool)[classes]
    assert suggest.learned(vectors[:0], marks[:0]) is None
    assert getattr(suggest.learned(vectors[:20], marks[:20]), "name", "") == "neighbours"
    assert getattr(suggest.learned(vectors[:25], marks[:25]), "name", "") == "linear"
    one = suggest.learned(vectors[::5], marks[::5])
    assert one is not None
    assert one.name == "neighbours", "nothing can be told apart from one class"
    assert one.chances(vectors[:3]).argmax(axis=1).tolist() == [0, 0, 0]


@pytest.mark.parametrize("count", [15, 200])
def test_rows_that_were_not_labelled_are_answered_well(rows: tuple[Any, Any], count: int) -> None:
    vectors, classes = rows
    model = suggest.learned(vectors[:count], np.eye(6, dtype=bool)[classes[:count]])
    assert model is not None
    chances = model.chances(vectors[count:])
    assert chances.sum(axis=1) == pytest.approx(np.ones(300 - count), abs=1e-6)
    assert (chances.argmax(axis=1) == classes[count:]).mean() > 0.8
    assert chances[:, 5].max() < 1 / 6, "a class without a row"


def test_far_neighbours_are_no_certainty() -> None:
    model = suggest.Neighbours(np.eye(4, dtype=np.float32)[:1], np.array([[True, False]]))
    near, far = model.chances(np.eye(4, dtype=np.float32)[[0, 3]])
    assert near[0] > 0.99
    assert far[0] < 0.51


def test_several_labels_a_row(rows: tuple[Any, Any]) -> None:
    vectors, classes = rows
    marks = np.stack([classes == 0, classes < 2, np.zeros(300, bool)], axis=1)
    model = suggest.Linear(vectors[:200], marks[:200], several=True)
    found = model.chances(vectors[200:]) > 0.5
    assert (found[:, :2] == marks[200:, :2]).mean() > 0.85
    assert not found[:, 2].any()


def test_the_nearest_labelled_rows() -> None:
    vectors = np.eye(3, dtype=np.float32)
    (found,) = suggest.nearest(vectors[1:2], vectors, count=2)
    assert found.rows[0] == 1
    assert found.cosines == [1.0, 0.0]
    assert suggest.nearest(vectors, vectors[:0]) == [suggest.Nearest([], [])] * 3
