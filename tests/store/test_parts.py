"""Parts: whole files of rows with a head, numbered, found again by whoever comes later."""

from __future__ import annotations

from pathlib import Path

from luthier.store.parts import PartFiles, as_line


def test_what_was_added_is_there_for_the_next_one_and_counts(tmp_path: Path) -> None:
    parts = PartFiles(tmp_path / "parts")
    parts.add({"read": 2}, [{"a": "é"}, {"a": 2}])
    parts.add({"read": 1}, [{"a": 3}])
    again = PartFiles(tmp_path / "parts")
    assert (again.heads, again.total("read")) == ([{"read": 2}, {"read": 1}], 3)
    assert [row["a"] for row in again.rows()] == ["é", 2, 3]


def test_parts_behind_a_gap_and_half_written_ones_are_not_counted(tmp_path: Path) -> None:
    parts = PartFiles(tmp_path)
    parts.add({"read": 1}, [{"a": 1}])
    (tmp_path / "part-0000002.jsonl").write_bytes(as_line({"read": 9}))
    (tmp_path / ".part-0000001.jsonl.aside").write_bytes(b'{"read"')
    assert PartFiles(tmp_path).total("read") == 1


def test_half_a_character_is_written_as_its_escape() -> None:
    assert as_line({"a": "\ud83d"}) == b'{"a": "\\ud83d"}\n'
