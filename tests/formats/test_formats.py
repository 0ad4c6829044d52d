"""Every format: what it recognises, what it reads, and how rows that cannot be read are reported."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from luthier.core import registry
from luthier.core.errors import InputError
from luthier.core.ports import BadRow, Row
from luthier.formats import _text
from luthier.formats.csv import find_delimiter

TEXT = "Größe falsch – café naïve “quoted” straße"


def rows(name: str, path: Path, **settings: str) -> list[Row | BadRow]:
    return list(registry.get("formats", name).rows(path, **settings))


def sniffed(path: Path) -> str:
    head = b"" if path.is_dir() else _text.read_head(path)
    return max(registry.names("formats"), key=lambda name: registry.get("formats", name).sniff(path, head))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_csv_encodings_are_found(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(("text,label\n" + f"{TEXT},größe\n" * 30).encode(encoding))
    found = rows("csv", path)
    assert len(found) == 30
    assert found[0].values == {"text": TEXT, "label": "größe"}  # type: ignore[union-attr]
    assert found[2].line == 4


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
@pytest.mark.parametrize(("name", "inner"), [("csv", "text,label\nhello,a\n"), ("jsonl", '{"text": "hello", "label": "a"}\n')])
def test_compressed_files_read_like_plain_ones(tmp_path: Path, pack: Any, name: str, inner: str) -> None:
    path = tmp_path / f"a.{name}.{'gz' if pack is gzip.compress else 'xz'}"
    path.write_bytes(pack(inner.encode()))
    assert sniffed(path) == name
    assert rows(name, path)[0].values == {"text": "hello", "label": "a"}  # type: ignore[union-attr]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_found(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"text{delimiter}label\n" + f'"one, two; three"{delimiter}a\n' * 5)
    assert find_delimiter(path.read_text()) == delimiter
    assert rows("csv", path)[0].values == {"text": "one, two; three", "label": "a"}  # type: ignore[union-attr]


def test_csv_rows_of_many_lines_keep_their_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"one\ntwo ""quoted""\nthree",a\nfour,b\n\nfive\n', encoding="utf-8")
    found = rows("csv", path)
    assert [(row.line, type(row)) for row in found] == [(2, Row), (5, Row), (7, BadRow)]
    assert found[0].values["text"] == 'one\ntwo "quoted"\nthree'  # type: ignore[union-attr]


def test_csv_header_faults(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,text\na,b\n")
    with pytest.raises(InputError, match="'text' is there twice"):
        rows("csv", path)


def test_bytes_that_are_not_utf8_are_a_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\n" + b"plain text,a\n" * 9000 + b"caf\xe9,b\n")
    found = rows("csv", path)
    assert len(found) == 9001
    assert isinstance(found[-1], BadRow)
    assert "UTF-8" in found[-1].reason
    assert rows("csv", path, encoding="cp1252")[-1].values["text"] == "café"  # type: ignore[union-attr]


def test_jsonl_faults_are_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n{"text": \n\n[1]\n{"text": "b"}\n')
    assert [(row.line, type(row).__name__) for row in rows("jsonl", path)] == [(1, "Row"), (2, "BadRow"), (4, "BadRow"), (5, "Row")]
    path.write_text('[{"text": "a"}]\n')
    with pytest.raises(InputError, match="a JSON array"):
        rows("jsonl", path)


def test_chat(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    chats = [
        [
            {"role": "system", "content": "classify"},
            {"role": "user", "content": "hi"},
            {"role": "user", "content": "card?"},
            {"role": "assistant", "content": " card "},
        ],
        [{"role": "user", "content": "hi"}, {"role": "asistant", "content": "card"}],
        [{"role": "user", "content": "hi"}],
        [{"role": "user", "content": [{"type": "text", "text": "parts"}]}, {"role": "assistant", "content": "x"}],
    ]
    path.write_text("\n".join(json.dumps({"messages": messages, "topic": "t"}) for messages in chats))
    assert sniffed(path) == "openai-chat"
    found = rows("openai-chat", path)
    assert found[0].values == {"text": "hi\ncard?", "label": "card", "topic": "t"}  # type: ignore[union-attr]
    assert found[1] == BadRow(2, "messages[1].role", "is 'asistant'", "did you mean 'assistant'?")
    assert isinstance(found[2], BadRow)
    assert found[3].values["text"] == "parts"  # type: ignore[union-attr]


def test_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "noname"
    pq.write_table(pa.table({"text": ["a", None], "label": [["x", "y"], []], "n": [1, 2]}), path)
    assert sniffed(path) == "parquet"
    found = rows("parquet", path)
    assert found[0] == Row(1, {"text": "a", "label": ["x", "y"], "n": 1}, path.stat().st_size // 2)
    assert found[1].line == 2


def test_saved_dataset_as_the_library_writes_it(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    made = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, 1]}, features=features)
    datasets.DatasetDict({"train": made, "test": made}).save_to_disk(str(tmp_path / "both"))
    assert sniffed(tmp_path / "both") == "saved-dataset"
    assert [row.values for row in rows("saved-dataset", tmp_path / "both" / "train")] == [  # type: ignore[union-attr]
        {"text": "a", "label": "yes"}, {"text": "b", "label": "no"}, {"text": "c", "label": "yes"},
    ]  # fmt: skip
    with pytest.raises(InputError, match="holds the splits 'train', 'test'"):
        rows("saved-dataset", tmp_path / "both")
    arrow = next((tmp_path / "both" / "train").glob("*.arrow"))
    arrow.write_bytes(arrow.read_bytes()[:200])
    with pytest.raises(InputError, match="truncated"):
        rows("saved-dataset", tmp_path / "both" / "train")
