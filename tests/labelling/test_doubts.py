"""Wrong labels that were planted are found, and come first."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from luthier.labelling import doubts


class Said(NamedTuple):
    id: str
    text: str


def made(rows: int = 200) -> tuple[list[Said], Any, Any]:
    draw = np.random.default_rng(4)
    classes = np.arange(rows) % 4
    vectors = draw.normal(size=(4, 32))[classes] * 1.5 + 0.5 * draw.normal(size=(rows, 32))
    return [Said(str(n), f"text {n}") for n in range(rows)], vectors / np.linalg.norm(vectors, axis=1, keepdims=True), classes


def test_planted_errors_of_one_label() -> None:
    messages, vectors, classes = made()
    names = np.array(["a", "b", "c", "d"])[classes].tolist()
    given = [names[(row + 1) % 4] if row % 23 == 0 else name for row, name in enumerate(names)]
    planted = {str(row) for row in range(200) if given[row] != names[row]}
    found = doubts.likely("label", messages, given, vectors, ["a", "b", "c", "d", "never"])
    listed = [row["row"] for row in found["rows"]]
    assert len(planted) == 9
    assert len(planted & set(listed)) >= 8
    assert len(planted & set(listed[:9])) >= 7
    assert found["found"] == len(listed) <= 20
    first = found["rows"][0]
    assert first["suggested"] == names[int(first["row"])]
    assert first["chance_of_suggested"] > first["chance_of_given"]


def test_planted_errors_of_several_labels() -> None:
    messages, vectors, classes = made()
    right = [["even"] if number % 2 == 0 else ["odd"] for number in classes]
    given = [["odd"] if row == 40 else value for row, value in enumerate(right)]
    found = doubts.likely("labels", messages, given, vectors, ["even", "odd"])
    assert found["rows"][0]["row"] == "40"
    assert found["rows"][0]["suggested"] == ["even"]


def test_too_few_rows_are_not_judged() -> None:
    messages, vectors, _ = made(8)
    assert doubts.likely("label", messages, ["a", "b"] * 4, vectors, ["a", "b"])["found"] == 0
    assert doubts.likely("label", [], [], vectors[:0], ["a", "b"])["rows"] == []


def test_no_row_judges_itself() -> None:
    """A model that had seen the rows would believe labels that are pure chance."""
    draw = np.random.default_rng(5)
    vectors = draw.normal(size=(200, 64))
    marks = np.eye(2, dtype=bool)[draw.integers(0, 2, 200)]
    chances = doubts.out_of_sample(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), marks)
    assert (chances.argmax(axis=1) == marks.argmax(axis=1)).mean() < 0.65
