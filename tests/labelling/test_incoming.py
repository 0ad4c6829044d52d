"""Messages as they come: what is read, what is refused, and the labels that came with them."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.core.errors import InputError, RowError
from luthier.labelling.incoming import Given, author_of, incoming

NOW = 1000.0


def test_a_row_with_its_own_label() -> None:
    found = incoming("label", {"text": " where is it ", "label": 3.0, "columns": {"channel": "mail", "when": [1]}}, "ann", NOW)
    assert found == ("where is it", {"channel": "mail", "when": "[1]"}, "", [Given("ann", NOW, "3")])
    assert incoming("label", {"text": "a", "label": ""}, "ann", NOW).given == []
    assert incoming("labels", {"text": "a", "label": '["x", "y"]'}, "ann", NOW).given[0].value == ["x", "y"]
    assert incoming("labels", {"text": "a", "labels": "x"}, "ann", NOW).given[0].value == ["x"]


def test_what_no_database_keeps_is_not_kept_and_blank_cells_are_no_labels() -> None:
    found = incoming("label", {"text": "a", "label": "  ", "columns": {"b\0": "c\ud83d"}, "source": "d\0.csv:1"}, "ann", NOW)
    assert found == ("a", {"b\ufffd": "c\ufffd"}, "d\ufffd.csv:1", [])


def test_spans_that_are_torn_are_told() -> None:
    with pytest.raises(RowError, match="not a list"):
        incoming("spans", {"text": "ab", "entities": '[{"start": 0'}, "ann", NOW)


def test_spans_keep_the_text_as_it_came() -> None:
    span = {"start": 2, "end": 4, "label": "x"}
    found = incoming("spans", {"text": "  ab ", "entities": [span]}, "ann", NOW)
    assert (found.text, found.given[0].value) == ("  ab ", [span])
    assert incoming("spans", {"text": "ab", "spans": "[]"}, "ann", NOW).given[0].value == []


def test_annotations_keep_author_and_time_of_the_past() -> None:
    said = [{"author": "bob", "at": 5, "value": "x"}, {"author": "", "at": 1e12, "value": "y"}]
    found = incoming("label", {"text": "a", "annotations": said}, "ann", NOW)
    assert found.given == [Given("bob", 5.0, "x"), Given("ann", NOW, "y")]


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"text": ""}, "text"),
        ({}, "text"),
        ({"text": 5}, "text"),
        ({"text": "a\0"}, "text"),
        ({"text": "\ud83d"}, "text"),
        ({"text": "a" * 100_001}, "text"),
        ({"text": "a", "label": {"x": 1}}, "label"),
        ({"text": "a", "annotations": ["x"]}, "annotations"),
        ({"text": "a", "annotations": [{"author": "a\nb", "value": "x"}]}, "annotations"),
        ({"text": "a", "label": "[" * 100_000}, "label"),
    ],
)
def test_what_cannot_be_used_names_its_field(row: dict[str, Any], field: str) -> None:
    with pytest.raises(RowError) as caught:
        incoming("label", row, "ann", NOW)
    assert caught.value.field == field
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 201, None])
def test_an_author_has_a_plain_name(name: Any) -> None:
    with pytest.raises(InputError, match="cannot name an author"):
        author_of(name)
