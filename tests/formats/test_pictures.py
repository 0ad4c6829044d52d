"""Formats with pictures: found beside their file or in its tar, never elsewhere; what is missing or fetched is refused by row."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from luthier.core import registry
from luthier.core.errors import InputError, RowError
from luthier.core.images import from_data_url, read
from luthier.core.plan import DataPlan
from luthier.core.ports import BadRow, Row
from luthier.stages.prepare.sources import find_sources
from luthier.testing import made

COLUMNS = ("image", "caption")


def _png(colour: tuple[int, int, int] = (9, 8, 7)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (3, 2), colour).save(out, "PNG")
    return out.getvalue()


def _rows(path: Path, columns: tuple[str, ...] = COLUMNS) -> tuple[str, list[Row | BadRow]]:
    (source,) = find_sources(DataPlan(train=[str(path)]), columns)
    return source.format, list(source.rows())


def test_each_kind_is_recognised_by_a_task_that_wants_pictures_only(tmp_path: Path) -> None:
    found = {path.name: path for path in made.data_files(tmp_path)}
    assert _rows(found["shots"])[0] == "image-folder"
    assert _rows(found["shots.csv"])[0] == "image-table"
    assert _rows(found["looks.jsonl"])[0] == "openai-vision"
    assert _rows(found["shots.csv"], ("text", "label"))[0] == "csv"
    assert _rows(found["looks.jsonl"], ("text", "label"))[0] == "openai-chat"
    assert _rows(found["made.csv"])[0] == "csv"
    pictures = [[read(row.values.get("image") or row.values["photo"]).tobytes() for row in _rows(found[name])[1]]  # type: ignore[union-attr]
                for name in ("shots", "shots.csv", "looks.jsonl")]  # fmt: skip
    assert pictures[0] == pictures[1] == pictures[2]
    assert len(pictures[0]) == 12


def test_a_folder_whose_pictures_are_in_a_tar(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "images.tar", "w") as tar:
        for name in ("a.png", "./deep/b.png"):
            info = tarfile.TarInfo(name)
            info.size = len(_png())
            tar.addfile(info, io.BytesIO(_png()))
    lines = [
        {"file_name": "a.png", "text": "one"},
        {"file_name": "deep/b.png", "text": "two"},
        {"file_name": "c.png", "text": "three"},
        {"text": "4"},
    ]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    name, rows = _rows(tmp_path)
    assert name == "image-folder"
    assert [row.values["image"] for row in rows[:2]] == [_png(), _png()]  # type: ignore[union-attr]
    assert rows[2] == BadRow(3, "file_name", "there is no picture 'c.png' beside the file", "give the path from the file's own folder")
    assert isinstance(rows[3], BadRow)
    (tmp_path / "images.tar").write_bytes(b"no tar at all")
    with pytest.raises(InputError, match=r"images\.tar"):
        list(registry.get("formats", "image-folder").rows(tmp_path))


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd.png", "sub/../../secret.png"])
def test_no_path_leaves_the_folder(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.png").write_bytes(_png())
    place = tmp_path / "data"
    (place / "sub").mkdir(parents=True)
    (place / "a.png").write_bytes(_png())
    (place / "rows.csv").write_text(f"image,caption\na.png,one\n{path},two\n")
    name, rows = _rows(place / "rows.csv")
    assert name == "image-table"
    assert isinstance(rows[0], Row)
    assert isinstance(rows[1], BadRow)
    assert rows[1].line == 3
    assert "leaves the folder" in rows[1].reason


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(_png())
    place = tmp_path / "data"
    place.mkdir()
    (place / "link.png").symlink_to(tmp_path / "secret.png")
    (place / "rows.csv").write_text("image,caption\nlink.png,one\n")
    (row,) = registry.get("formats", "image-table").rows(place / "rows.csv")
    assert "leaves the folder" in row.reason


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest/a.png", "https://example.com/a.jpg?size=9", "ftp://host/a.png", "file:///etc/a.png"]
)
def test_nothing_is_fetched(tmp_path: Path, url: str) -> None:
    (tmp_path / "rows.csv").write_text(f"image,caption\n{url},one\n{url},two\n")
    _, rows = _rows(tmp_path / "rows.csv")
    assert all(isinstance(row, BadRow) and "nothing is fetched" in row.reason for row in rows)
    with pytest.raises(RowError, match="no picture is fetched"):
        from_data_url(url)


def test_jsonl_tables_and_a_table_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_png())
    (tmp_path / "rows.jsonl").write_text('{"photo": "a.png", "text": "see b.png", "n": 3}\n{"photo": "", "text": "x"}\n')
    name, rows = _rows(tmp_path / "rows.jsonl")
    assert name == "image-table"
    assert rows[0].values["photo"] == _png()  # type: ignore[union-attr]
    assert rows[1] == BadRow(2, "photo", "is missing or empty", "name the picture of the row")
    (tmp_path / "plain.csv").write_text("image,caption\nnone,one\n")
    with pytest.raises(InputError, match=r"plain\.csv:2: no column names a picture"):
        list(registry.get("formats", "image-table").rows(tmp_path / "plain.csv"))


def _chat(*content: Any, reply: str = "a cup", weight: int = 1) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": list(content)}, {"role": "assistant", "content": reply, "weight": weight}],
        "shop": "x",
    }


def test_chats_with_pictures(tmp_path: Path) -> None:
    url = "data:image/png;base64," + base64.b64encode(_png()).decode()
    image, text = {"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "Describe it."}
    away = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    broken = {"type": "image_url", "image_url": {"url": "data:image/png;base64,@@@"}}
    chats = [
        _chat(text, image),
        _chat(text),
        _chat(image, image),
        _chat(image, weight=0),
        _chat(away),
        _chat(broken),
        _chat({"type": "image_url"}),
    ]
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(chat) + "\n" for chat in chats))
    name, rows = _rows(path)
    assert name == "openai-vision"
    assert rows[0].values == {"image": _png(), "caption": "a cup", "prompt": "Describe it.", "shop": "x"}  # type: ignore[union-attr]
    said = [row.reason for row in rows[1:] if isinstance(row, BadRow)]
    assert said[0].startswith("there are 0 pictures")
    assert said[1].startswith("there are 2 pictures")
    assert said[2] == "there is no reply of the assistant"
    assert "no picture is fetched" in said[3]
    assert said[4] == "holds no base64 behind the comma"
    assert said[5] == "holds no url"
    assert rows[4].field == "messages[0].content[0].image_url"  # type: ignore[union-attr]
