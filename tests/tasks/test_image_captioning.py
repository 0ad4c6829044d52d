"""Captions: rows, requests and arrays of the task."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from luthier.core import images, registry
from luthier.core.edits import Edit
from luthier.core.errors import InputError, RowError
from luthier.core.hooks import edited, maskable
from luthier.core.types import Place
from luthier.testing import made

TASK = registry.get("tasks", "image-captioning")
HERE = Place("made.csv", 2)
URL = made.picture(1, 0)
DATA = base64.b64decode(URL.partition(",")[2])


def test_a_picture_may_be_bytes_a_data_url_or_what_datasets_keeps() -> None:
    ids = {TASK.example({"image": image, "caption": "a cap"}, HERE).id for image in (DATA, URL, {"bytes": DATA, "path": None})}
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("row", "field"),
    [({"caption": "x"}, "image"), ({"image": b"", "caption": "x"}, "image"), ({"image": b"no picture", "caption": "x"}, "image"),
     ({"image": DATA[:50], "caption": "x"}, "image"), ({"image": DATA, "caption": "  "}, "caption"), ({"image": DATA}, "caption")],
)  # fmt: skip
def test_rows_without_a_picture_or_a_caption_are_refused(row: dict[str, Any], field: str) -> None:
    with pytest.raises(RowError) as caught:
        TASK.example(row, HERE)
    assert caught.value.field == field
    assert caught.value.remedy


def test_only_the_caption_is_masked_and_the_picture_decides_the_id() -> None:
    one = TASK.example({"image": DATA, "caption": "Ann's  red cap"}, HERE)
    assert maskable(TASK, one) == "Ann's red cap"
    masked = edited(TASK, one, [Edit(0, 3, "<NAME_1>")])
    assert (masked.target, masked.id) == ("<NAME_1>'s red cap", one.id)
    assert TASK.worded(masked) == masked.target


def test_a_request_is_a_picture_some_or_a_chat() -> None:
    other = made.picture(2, 1)
    chat = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": URL}}]}]
    for body in ({"image": URL}, {"images": [URL]}, {"texts": [URL]}, {"text": URL}, {"messages": chat}):
        (asked,) = TASK.request(body)
        assert asked.id == TASK.example({"image": DATA, "caption": "x"}, HERE).id
    assert len({one.id for one in TASK.request({"images": [URL, other]})}) == 2
    for body in ({}, {"images": []}, {"image": 3}, {"images": [URL, 3]}, {"image": "http://there/a.png"},
                 {"image": "data:image/png;base64,AA=="}, {"messages": [{"role": "user", "content": "no picture"}]}):  # fmt: skip
        with pytest.raises(InputError):
            TASK.request(body)


def test_a_long_caption_is_cut_behind_the_picture_and_nothing_of_it_is_in_the_prompt() -> None:
    base = made.base(architecture="vision")
    one = TASK.example({"image": DATA, "caption": "please " * 30}, HERE)
    processor = TASK.processor(base, {})
    (item,) = TASK.encode([one], processor, {"max_tokens": processor.places + 4})
    assert item["input_ids"].tolist() == [0] * processor.places + [processor.tokenizer.token_to_id("please")] * 4
    assert item["loss_mask"].tolist() == [0] * processor.places + [1] * 4
    assert item["prompt"].tolist() == [processor.places]
    np.testing.assert_array_equal(item["pixels"], images.pixels(images.read(DATA), processor.how))
