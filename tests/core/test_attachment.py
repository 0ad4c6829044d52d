"""A file that belongs to an example is its name for JSON, and gives its bytes when they are read."""

from __future__ import annotations

import copy
import json
import zipfile
from pathlib import Path

import pytest

from luthier.core.attachment import Attachment, attachments_of, names_in
from luthier.core.errors import Damaged
from luthier.core.types import content_id


def _archive(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"bytes")
    return path


def test_it_is_its_name_in_json_and_in_ids() -> None:
    one = Attachment("a.png", b"bytes")
    assert json.dumps({"image": one}) == '{"image": "a.png"}'
    assert content_id({"image": one}) == content_id({"image": "a.png"})
    assert attachments_of({"image": one, "text": "a.png"}) == {"image": one}


def test_bytes_come_from_memory_or_from_the_archive(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "attachments.zip")
    assert Attachment("a.png", b"own").read() == b"own"
    assert Attachment("a.png", archive=archive).read() == b"bytes"
    assert copy.deepcopy(Attachment("a.png", archive=archive)).read() == b"bytes"
    assert names_in(archive) == {"a.png"}


def test_what_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match=r"a\.png"):
        Attachment("a.png").read()
    with pytest.raises(Damaged, match=r"attachments\.zip: b\.png"):
        Attachment("b.png", archive=_archive(tmp_path / "attachments.zip")).read()
    torn = tmp_path / "torn.zip"
    torn.write_bytes(b"PK no archive")
    with pytest.raises(Damaged, match=r"torn\.zip"):
        names_in(torn)
