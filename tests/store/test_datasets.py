"""Examples go to the disk and come back the same, as a stream, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.core.errors import Damaged
from luthier.core.types import SPLITS, Example
from luthier.store.datasets import arrow_schema, count_splits, from_batch, read_split, stream_split, to_batch, write_batches, write_split

EXAMPLES = [
    Example("1", {"text": "The soup was cold"}, "negative"),
    Example(
        "2", {"text": "Größe 😀\n\x00\t\"'"}, ["a", "ü"], "conv-17", "reviews.csv:18", {"stars": 1, "note": None, "deep": {"x": [1.5]}}
    ),
    Example("3", {"text": ""}, []),
    Example("4", {"text": "unknown", "title": "two inputs"}, None),
    Example("5", {"text": "span"}, {"start": 1, "end": 2}),
    Example("6", {}, 0),
    Example("7", {"text": "a false target is not a missing one"}, False),
]


def many(count: int) -> list[Example]:
    return [Example(str(number), {"text": f"text {number}"}, f"label {number % 7}") for number in range(count)]


def test_examples_come_back_as_they_were(tmp_path: Path) -> None:
    assert write_split(tmp_path / "new", "train", EXAMPLES) == len(EXAMPLES)
    assert read_split(tmp_path / "new", "train") == EXAMPLES
    assert [type(e.target) for e in read_split(tmp_path / "new", "train")] == [type(e.target) for e in EXAMPLES]


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | text | st.lists(text, max_size=3)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.builds(Example, text, st.dictionaries(text, values), values, text, text, st.dictionaries(text, values)), max_size=5))
def test_whatever_the_values_batches_come_back_as_they_were(examples: list[Example]) -> None:
    assert from_batch(to_batch(examples)) == examples


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 25])
def test_the_order_and_number_of_rows_is_kept_over_batches(tmp_path: Path, count: int) -> None:
    examples = many(count)
    assert write_split(tmp_path, "test", iter(examples), rows_a_batch=10) == count
    assert list(stream_split(tmp_path, "test", rows_a_batch=4)) == examples
    assert count_splits(tmp_path) == {"test": count}


def test_batches_are_written_as_they_come(tmp_path: Path) -> None:
    examples = many(20)
    assert write_batches(tmp_path, "train", (to_batch(examples[i : i + 6]) for i in range(0, 20, 6))) == 20
    assert read_split(tmp_path, "train") == examples
    assert to_batch(examples).schema == arrow_schema()


def test_examples_are_taken_one_by_one(tmp_path: Path) -> None:
    """Memory is bounded: while a batch is read, the ones behind it are not."""
    write_split(tmp_path, "train", many(1000), rows_a_batch=100)
    stream = stream_split(tmp_path, "train", rows_a_batch=100)
    assert next(stream).id == "0"
    stream.close()  # type: ignore[attr-defined]

    taken = 0

    def counted() -> Iterator[Example]:
        nonlocal taken
        for example in many(50):
            taken += 1
            if taken == 31:
                raise KeyError
            yield example

    with pytest.raises(KeyError):
        write_split(tmp_path, "test", counted(), rows_a_batch=10)
    assert taken == 31


def test_splits_are_counted_in_order_and_missing_ones_left_out(tmp_path: Path) -> None:
    assert count_splits(tmp_path) == {}
    write_split(tmp_path, "test", many(2))
    write_split(tmp_path, "train", many(3))
    assert list(count_splits(tmp_path).items()) == [("train", 3), ("test", 2)]
    for split in SPLITS:
        assert len(read_split(tmp_path, split)) == count_splits(tmp_path).get(split, 0)


def test_a_failure_leaves_the_split_that_was_there(tmp_path: Path) -> None:
    write_split(tmp_path, "train", many(3))

    def broken() -> Iterator[Example]:
        yield from many(5)
        raise KeyError

    with pytest.raises(KeyError):
        write_split(tmp_path, "train", broken(), rows_a_batch=2)
    assert read_split(tmp_path, "train") == many(3)
    assert [path.name for path in tmp_path.iterdir()] == ["train.parquet"]


def test_the_same_examples_make_the_same_file(tmp_path: Path) -> None:
    """A dataset's id is the hash of its files: the same data must be the same dataset."""
    for folder in ("one", "two"):
        write_split(tmp_path / folder, "train", EXAMPLES)
    assert (tmp_path / "one" / "train.parquet").read_bytes() == (tmp_path / "two" / "train.parquet").read_bytes()


def test_the_order_of_keys_makes_no_other_file(tmp_path: Path) -> None:
    write_split(tmp_path / "one", "train", [Example("1", {"a": 1, "b": 2}, columns={"x": 1, "y": 2})])
    write_split(tmp_path / "two", "train", [Example("1", {"b": 2, "a": 1}, columns={"y": 2, "x": 1})])
    assert (tmp_path / "one" / "train.parquet").read_bytes() == (tmp_path / "two" / "train.parquet").read_bytes()


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_a_torn_file_is_damaged(tmp_path: Path, cut: int) -> None:
    write_split(tmp_path, "train", many(100))
    path = tmp_path / "train.parquet"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(Damaged, match=r"train\.parquet: not a whole Parquet file") as caught:
        read_split(tmp_path, "train")
    assert caught.value.hint == "run prepare again"


def test_values_that_json_does_not_know_are_refused(tmp_path: Path) -> None:
    strange: list[Any] = [{1, 2}, object(), b"bytes"]
    for value in strange:
        with pytest.raises(TypeError):
            write_split(tmp_path, "train", [Example("1", {"text": "a"}, columns={"x": value})])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_a_torn_file_cannot_be_counted(tmp_path: Path, cut: int) -> None:
    write_split(tmp_path, "train", many(100))
    path = tmp_path / "train.parquet"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(Damaged, match=r"train\.parquet: not a whole Parquet file"):
        count_splits(tmp_path)


@pytest.mark.parametrize("columns", [{"text": ["a"]}, {name: ["no JSON"] for name in arrow_schema().names}, {"id": [1], "inputs": [2]}])
def test_a_foreign_parquet_file_is_damaged(tmp_path: Path, columns: dict[str, list[Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    with pytest.raises(Damaged, match=r"train\.parquet: not a split of a dataset") as caught:
        read_split(tmp_path, "train")
    assert caught.value.hint == "run prepare again"
