"""A dataset's attachments: each written once, whole or not at all, the same bytes for the same content, found again beside the rows."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from luthier.core.attachment import ARCHIVE, Attachment
from luthier.core.errors import Damaged
from luthier.core.types import Example
from luthier.store import datasets
from luthier.store.attachments import Collector


def _written(folder: Path) -> bytes:
    folder.mkdir()
    with Collector(folder) as collector:
        for name in ("b.png", "a.png", "b.png"):
            collector.take({"image": Attachment(name, name.encode()), "text": "x"})
    return (folder / ARCHIVE).read_bytes()


def test_each_is_written_once_and_equal_content_is_an_equal_file(tmp_path: Path) -> None:
    assert _written(tmp_path / "one") == _written(tmp_path / "two")
    with zipfile.ZipFile(tmp_path / "one" / ARCHIVE) as archive:
        assert archive.namelist() == ["b.png", "a.png"]
        assert archive.testzip() is None


def test_without_attachments_there_is_no_archive_and_after_a_fault_neither(tmp_path: Path) -> None:
    with Collector(tmp_path) as collector:
        collector.take({"text": "x"})
    with pytest.raises(Damaged):
        _broken(tmp_path)
    assert list(tmp_path.iterdir()) == []


def _broken(folder: Path) -> None:
    with Collector(folder) as collector:
        collector.take({"image": Attachment("a.png", b"x")})
        collector.take({"image": Attachment("nowhere.png")})


def test_rows_that_are_read_have_their_files_again(tmp_path: Path) -> None:
    inputs = {"image": Attachment("a.png", b"picture"), "note": "b.png"}
    with Collector(tmp_path) as collector:
        collector.take(inputs)
    datasets.write_split(tmp_path, "train", [Example("1", inputs, "a caption")])
    (found,) = datasets.read_split(tmp_path, "train")
    assert found.inputs == inputs
    assert found.inputs["image"].read() == b"picture"
    assert not isinstance(found.inputs["note"], Attachment)
