"""What a person asks with: texts stay texts; a picture's file, or a made picture, is sent as a data URL."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from luthier.app.asked import sent
from luthier.core.errors import InputError
from luthier.core.images import from_data_url, read
from luthier.testing import made


def test_texts_files_and_made_pictures(tmp_path: Path) -> None:
    data = base64.b64decode(made.picture(1, 0).partition(",")[2])
    (tmp_path / "a.png").write_bytes(data)
    assert from_data_url(sent(str(tmp_path / "a.png"))) == data
    for text in ("where is a.png?", str(tmp_path / "nowhere.png"), "line\nline.png", "made: by hand"):
        assert sent(text) == text
    assert read(from_data_url(sent("made:product-pictures#2"))).size == (96, 96)
    assert sent("made:product-pictures#2") != sent("made:product-pictures#1")


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no picture")
    with pytest.raises(InputError, match=r"a\.jpg"):
        sent(str(tmp_path / "a.jpg"))
    with pytest.raises(InputError, match="number of a row"):
        sent("made:product-pictures#x")
