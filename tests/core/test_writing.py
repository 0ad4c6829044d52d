"""Texts come back from arrays as they went in."""

from __future__ import annotations

import numpy as np

from luthier.core import writing


def test_texts_of_every_length_and_language_come_back() -> None:
    texts = ["plain", "", None, "größer 🙂", "nul\0inside", "ends with nul\0"]
    arrays = writing.as_arrays(texts)
    assert arrays[writing.WRITTEN].dtype == np.uint8
    assert writing.texts_in(arrays, len(texts)) == texts


def test_half_an_emoji_cannot_be_kept_and_is_marked() -> None:
    assert writing.texts_in(writing.as_arrays(["\ud83d"]), 1) == ["?"]


def test_outputs_without_texts_say_so() -> None:
    assert writing.texts_in({"logits": np.zeros((2, 3))}, 2) == [None, None]
    assert writing.texts_in(writing.as_arrays([]), 0) == []


def test_rows_may_be_chosen_as_of_any_output() -> None:
    arrays = {name: value[[2, 0]] for name, value in writing.as_arrays(["a", "bb", "ccc"]).items()}
    assert writing.texts_in(arrays, 2) == ["ccc", "a"]
