"""Labels as files: what prepare reads, what Label Studio imports, and BIO."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core import registry
from luthier.core.errors import InputError, UnknownName
from luthier.formats.label_studio import said_of, tasks
from luthier.labelling.log import Entry
from luthier.labelling.outgoing import Labelled, bio, check_form, written

ENTRY = Entry(1, "1", "ann", 1000.5, "correct", "refund")
ROWS = [
    Labelled("1", 'money, "now"', {"channel": "mail"}, "refund", True, {"ann": ENTRY}),
    Labelled("2", "nothing yet", {}),
    Labelled("3", "where\nis it", {"channel": "phone"}, "delivery", True),
]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_what_is_agreed_upon_is_what_prepare_reads(tmp_path: Path, form: Any) -> None:
    path = tmp_path / f"labels.{form}"
    path.write_text(written(form, "label", ROWS), encoding="utf-8")
    found = [row.values for row in registry.get("formats", form).rows(path)]
    assert found == [
        {"text": 'money, "now"', "label": "refund", "channel": "mail"},
        {"text": "where\nis it", "label": "delivery", "channel": "phone"},
    ]


def test_several_labels_in_a_cell_are_json() -> None:
    assert '"[""a"", ""b""]"' in written("csv", "labels", [Labelled("1", "x", {}, ["a", "b"], True)])
    assert written("csv", "label", []) == "text,label\n"


def test_label_studio_gets_every_row_and_every_author(tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    rows = [*ROWS[:2], Labelled("4", "a", predicted={"value": "refund", "confidence": 0.7, "by": "ft:x"})]
    path.write_text(written("label-studio", "label", rows), encoding="utf-8")
    found = [task for task, _ in tasks(path)]
    assert [task["data"]["text"] for task in found] == [row.text for row in rows]
    (said,) = said_of(found[0])
    assert (said.author, said.at, said.choices) == ("ann", 1000.5, ["refund"])
    assert said_of(found[1]) == []
    (guess,) = said_of(found[2], "predictions")
    assert (guess.author, guess.choices) == ("ft:x", ["refund"])
    assert found[2]["predictions"][0]["score"] == 0.7


def test_the_newest_annotation_in_label_studio_is_what_is_agreed_upon(tmp_path: Path) -> None:
    """Which is what prepare takes: a settled label, or that of most, whoever spoke last."""
    said = {
        who: Entry(at, "1", who, float(at), "correct", value) for at, (who, value) in enumerate([("a", "x"), ("b", "x"), ("c", "y")], 1)
    }
    rows = [
        Labelled("1", "most", {"text": "another column"}, "x", True, said),
        Labelled("2", "settled", {}, "z", True, said),
        Labelled("3", "newest", {}, "y", True, said),
        Labelled("4", "disputed", {}, None, False, said),
    ]
    path = tmp_path / "tasks.json"
    path.write_text(written("label-studio", "label", rows), encoding="utf-8")
    found = [row.values for row in registry.get("formats", "label-studio").rows(path)]
    assert [(one["text"], one["label"]) for one in found] == [("most", "x"), ("settled", "z"), ("newest", "y"), ("disputed", "y")]
    assert [len(said_of(task)) for task, _ in tasks(path)] == [4, 4, 3, 3]


def test_a_label_that_no_tag_can_hold_is_refused() -> None:
    spans = [{"start": 0, "end": 1, "label": "order number"}]
    with pytest.raises(InputError, match="'order number' holds a space"):
        written("conll", "spans", [Labelled("1", "a", {}, spans, True)])


def test_spans_in_label_studio_and_conll() -> None:
    spans = [{"start": 8, "end": 16, "label": "city"}]
    row = Labelled("1", "fly to (New York)", {}, spans, True, {"ann": Entry(1, "1", "ann", 0.0, "correct", spans)})
    (task,) = json.loads(written("label-studio", "spans", [row]))
    assert task["annotations"][0]["result"][0]["value"] == {"start": 8, "end": 16, "text": "New York", "labels": ["city"]}
    assert written("conll", "spans", [row, row]).split("\n\n")[0].splitlines() == [
        "fly\tO", "to\tO", "(\tO", "New\tB-city", "York\tI-city", ")\tO",
    ]  # fmt: skip


@given(st.text("ab c.", max_size=20), st.lists(st.integers(0, 20), max_size=6))
def test_no_span_of_words_is_lost_in_bio(text: str, edges: list[int]) -> None:
    cuts = sorted({edge for edge in edges if edge <= len(text)})
    spans = [{"start": a, "end": b, "label": str(n)} for n, (a, b) in enumerate(zip(cuts[::2], cuts[1::2], strict=False))]
    words = list(bio(text, spans))
    assert "".join(word for word, _ in words) == "".join(text.split())
    marked = {span["label"] for span in spans if any(letter.isalpha() or letter == "." for letter in text[span["start"] : span["end"]])}
    assert {tag[2:] for _, tag in words if tag != "O"} == marked
    assert [tag[2:] for _, tag in words if tag.startswith("B")] == sorted(marked, key=int), "each begins once, in order"


def test_a_form_that_cannot_hold_the_kind_is_refused() -> None:
    with pytest.raises(InputError, match="CoNLL holds spans"):
        check_form("conll", "label")
    with pytest.raises(UnknownName, match="'jsnl'"):
        check_form("jsnl", "label")
