"""A folder's content: equal for copies, another one for other bytes or names, and hashed once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from luthier.store import contents, files


@pytest.fixture
def model(tmp_path: Path) -> Path:
    files.write_json(tmp_path / "model" / "config.json", {"hidden": 8})
    files.write_bytes(tmp_path / "model" / "model.safetensors", b"weights")
    files.write_json(tmp_path / "model" / "1_Pooling" / "config.json", {})
    files.write_json(tmp_path / "model" / "manifest.json", {"names": []})
    return tmp_path / "model"


def test_a_copy_elsewhere_at_another_time_is_the_same(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "other machine" / "copy"
    shutil.copytree(model, copy)
    for path in copy.iterdir():
        os.utime(path, (1, 1))
    files.write_json(copy / "manifest.json", {"names": ["another"]})
    assert contents.of(model) == contents.of(copy)
    (copy / "README.md").write_text("about it")
    assert contents.of(model) != contents.of(copy)
    assert contents.of(model, ("*.json", "*.safetensors")) == contents.of(copy, ("*.safetensors", "config.json"))


def test_other_bytes_and_other_names_are_noticed(model: Path) -> None:
    patterns = ("*", "1_Pooling/config.json")
    seen = {contents.of(model, patterns)}
    facts = (model / "model.safetensors").stat()
    (model / "model.safetensors").write_bytes(b"WEIGHTS")
    os.utime(model / "model.safetensors", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    seen.add(contents.of(model, patterns))
    (model / "model.safetensors").rename(model / "weights.safetensors")
    seen.add(contents.of(model, patterns))
    files.write_json(model / "1_Pooling" / "config.json", {"pooling_mode_cls_token": True})
    seen.add(contents.of(model, patterns))
    assert len(seen) == 4


def test_what_was_hashed_is_remembered(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = contents.of(model, kept=tmp_path / "kept")
    monkeypatch.setattr(files, "sha256", lambda path: pytest.fail(f"{path} was read again"))
    assert contents.of(model, kept=tmp_path / "kept") == first
    contents._KNOWN.clear()
    assert contents.of(model, kept=tmp_path / "kept") == first
    monkeypatch.undo()
    (note,) = (tmp_path / "kept").iterdir()
    note.write_text("torn")
    contents._KNOWN.clear()
    assert contents.of(model, kept=tmp_path / "kept") == first
