"""Label Studio's JSON: recognised, read as a stream, and what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from luthier.core import registry
from luthier.core.errors import InputError
from luthier.core.ports import BadRow, Row
from luthier.formats import _text, label_studio


def task(text: str, *said: Any, **more: Any) -> dict[str, Any]:
    annotations = [
        {"completed_by": number, "created_at": f"2026-01-0{number}T00:00:00Z", "result": one} for number, one in enumerate(said, 1)
    ]
    return {"id": 1, "data": {"text": text, "channel": "mail"}, "annotations": annotations, "predictions": [], **more}


def choice(*names: str) -> list[Any]:
    return [{"type": "choices", "from_name": "intent", "to_name": "text", "value": {"choices": list(names)}}]


def span(start: int, end: int, label: str) -> dict[str, Any]:
    return {"type": "labels", "from_name": "l", "to_name": "text", "value": {"start": start, "end": end, "text": "", "labels": [label]}}


def saved(path: Path, *found: Any, **how: Any) -> Path:
    path.write_text(json.dumps(found, **how), encoding="utf-8")
    return path


@pytest.mark.parametrize("indent", [None, 2])
def test_it_is_known_by_its_content_and_read(tmp_path: Path, indent: int | None) -> None:
    path = saved(tmp_path / "export.json", task("a", choice("x"), choice("y")), task("b"), task("c", choice("x", "y")), indent=indent)
    head = _text.read_head(path)
    assert max(registry.names("formats"), key=lambda name: registry.get("formats", name).sniff(path, head)) == "label-studio"
    found = list(label_studio.plugin.rows(path))
    assert [row.values for row in found if isinstance(row, Row)] == [
        {"channel": "mail", "text": "a", "label": "y"},
        {"channel": "mail", "text": "b"},
        {"channel": "mail", "text": "c", "label": ["x", "y"]},
    ]
    assert [row.line for row in found] == [1, 2, 3]


def test_spans_and_cancelled_annotations(tmp_path: Path) -> None:
    one = task("Ann in Bonn", [span(0, 3, "name"), span(7, 11, "city")])
    one["annotations"].append({"was_cancelled": True, "completed_by": {"email": "bob@example.com"}, "result": []})
    path = saved(tmp_path / "a.json", one, task("b", [span(0, 1, "x")]))
    row = next(label_studio.plugin.rows(path))
    assert isinstance(row, Row)
    assert row.values["entities"] == [{"start": 0, "end": 3, "label": "name"}, {"start": 7, "end": 11, "label": "city"}]
    assert [said.author for said in label_studio.said_of(one)] == ["annotator-1"]


def test_a_large_file_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_studio, "BLOCK", 16)
    path = saved(tmp_path / "a.json", *(task("ä" * 50 + str(number), choice("x")) for number in range(50)))
    found = list(label_studio.plugin.rows(path))
    assert [row.values["text"][50:] for row in found if isinstance(row, Row)] == [str(number) for number in range(50)]
    places = [row.at_bytes for row in found if isinstance(row, Row)]
    assert places == sorted(places)
    assert places[0] < path.stat().st_size


def test_the_time_of_reading_grows_with_the_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small tasks in one block: what is left of the block is not copied for each (60,000 tasks took 44 s)."""
    text = saved(tmp_path / "a.json", *(task("a" * 100, choice("x")) for _ in range(2000))).read_text()
    looked: list[int] = []

    class Counted(json.JSONDecoder):
        def raw_decode(self, s: str, idx: int = 0) -> tuple[Any, int]:
            looked.append(len(s) if not looked or s is not held[0] else 0)
            held[:] = [s]
            return super().raw_decode(s, idx)

    held: list[str] = [""]
    monkeypatch.setattr(json, "JSONDecoder", Counted)
    assert len(list(label_studio.plugin.rows(tmp_path / "a.json"))) == 2000
    assert sum(looked) <= 2 * len(text)


@pytest.mark.parametrize(("emoji", "units"), [("", 0), ("\U0001f600 ", 1)])
def test_places_in_utf16_are_known_by_the_words_beside_them(emoji: str, units: int) -> None:
    text = f"{emoji}Ann in Bonn \U0001f3e0!"
    at = text.index("Bonn")
    one = task(text, [span(at + units, at + units + 7, "home"), span(at, at + 6, "home")])
    for result in one["annotations"][0]["result"]:
        result["value"]["text"] = "Bonn \U0001f3e0"
    (said,) = label_studio.said_of(one)
    assert [text[found["start"] : found["end"]] for found in said.spans or []] == ["Bonn \U0001f3e0"] * 2


def test_an_annotation_without_a_result_says_that_there_is_nothing(tmp_path: Path) -> None:
    row = next(label_studio.plugin.rows(saved(tmp_path / "a.json", task("Ann", [span(0, 3, "name")], []))))
    assert isinstance(row, Row)
    assert row.values["entities"] == []


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (7, ""),
        ({"id": 1}, "data"),
        ({"data": {"number": 1}}, "data"),
        ({"data": {"text": "a"}, "annotations": {"a": 1}}, "annotations"),
        ({"data": {"text": "a"}, "annotations": [7]}, "annotations[0]"),
        ({"data": {"text": "a"}, "annotations": [{"result": [{}]}]}, "annotations[0].result[0]"),
        (
            {"data": {"text": "a"}, "annotations": [{"result": [{"value": {"labels": ["x"], "start": "/p[1]"}}]}]},
            "annotations[0].result[0].value",
        ),
    ],
)
def test_a_task_that_is_none_is_a_bad_row(tmp_path: Path, wrong: Any, field: str) -> None:
    found = list(label_studio.plugin.rows(saved(tmp_path / "a.json", task("a"), wrong, task("b"))))
    bad = [row for row in found if isinstance(row, BadRow)]
    assert [(row.line, row.field) for row in bad] == [(2, field)]
    assert len(found) == 3


@pytest.mark.parametrize("text", ['{"data": {}}', "[]", '[{"data": {"text": "a"}}', '[{"data": nonsense}]', "[" * 100_000])
def test_a_file_that_is_no_array_of_tasks_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.json") as caught:
        list(label_studio.plugin.rows(path))
    assert caught.value.hint
