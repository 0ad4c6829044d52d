"""Every format: what it recognises, what it reads, and how rows that cannot be read are reported."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest
import yaml

from luthier.core import registry
from luthier.core.errors import InputError
from luthier.core.ports import BadRow, Row
from luthier.formats import _text
from luthier.formats import csv as csv_format
from luthier.formats.csv import find_delimiter
from luthier.stages.prepare import sources

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


@pytest.mark.parametrize(
    ("lines", "lost"),
    [
        (['"good,pos', "bad,neg", "nice,pos"], [2, 3, 4]),
        (['"good,pos', "bad,neg", '"nice",pos'], [2, 3, 4]),
        (['"good,pos', "", "bad,neg", '"nice, really",pos', "last,neg"], [2, 4, 5]),
        (["first,pos", 'good,"pos', "bad,neg", 'nice,"pos"', "last,neg"], [3, 4, 5]),
        (['"a quote, closed",pos', '"and ""one"" of', 'two lines",neg', "last,neg"], []),
    ],
)
def test_a_stray_quote_loses_each_row_that_it_swallows(tmp_path: Path, lines: list[str], lost: list[int]) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["text,label", *lines]) + "\n")
    found = rows("csv", path, delimiter=",")
    assert [row.line for row in found if isinstance(row, BadRow)] == lost
    assert all("never closed" in row.reason for row in found if isinstance(row, BadRow))
    good = [row.values["text"] for row in found if isinstance(row, Row)]
    assert not any(",neg" in text or ",pos" in text for text in good), "no row hides others"
    assert (["last"] if lines[-1].startswith("last") else []) == good[-1:]


def test_a_cell_above_the_limit_loses_each_row_that_it_swallowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_format, "LARGEST_CELL", 100)
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"open,a\n' + "0123456789,a\n" * 20)
    found = rows("csv", path, delimiter=",")
    assert [row.line for row in found] == list(range(2, 23))
    assert {type(row) for row in found[:9]} == {BadRow}
    assert "larger than field limit" in found[3].reason  # type: ignore[union-attr]
    assert found[-1].values == {"text": "0123456789", "label": "a"}  # type: ignore[union-attr]
    monkeypatch.undo()
    assert {type(row) for row in rows("csv", path)} == {BadRow}, "the limit of the csv module is back where it was"


@pytest.mark.parametrize(("name", "hint"), [("csv", "a CSV file"), ("jsonl", "one JSON array")])
def test_a_line_that_never_ends_is_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, hint: str) -> None:
    monkeypatch.setattr(_text, "LONGEST_LINE", 1000)
    path = tmp_path / "a.txt"
    path.write_text("text,label\n" + '{"text": 1},' * 1000)
    with pytest.raises(InputError, match=r"a\.txt:2: a line of more than 1,000 characters") as error:
        rows(name, path)
    assert hint in error.value.hint


def test_csv_header_faults(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,text\na,b\n")
    with pytest.raises(InputError, match="'text' is there twice"):
        rows("csv", path)
    path.write_text('text,"label\na,b\n')
    with pytest.raises(InputError, match="the header cannot be read: a quote is opened and never closed"):
        rows("csv", path)


def test_a_first_row_that_is_no_header_is_not_shown_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("ann@example.com;1\nbob@example.com;2\n")
    with pytest.raises(InputError, match="the header is one column, '<EMAIL_1>;1'") as error:
        rows("csv", path, delimiter=",")
    assert error.value.hint == """the delimiter looks like ';': --delimiter ';' (in a run: --set data.delimiter='";"')"""
    assert yaml.safe_load('";"') == ";"
    path.write_text("ann@example.com,ann@example.com\n1,2\n")
    with pytest.raises(InputError, match="the column '<EMAIL_1>' is there twice"):
        rows("csv", path)


def test_a_delimiter_is_one_character(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\tlabel\none, two\ta\n")
    for tab in ("\t", "\\t", "tab"):
        assert rows("csv", path, delimiter=tab)[0].values == {"text": "one, two", "label": "a"}  # type: ignore[union-attr]
    for wrong in (";;", '"', "\n"):
        with pytest.raises(InputError, match=r"data\.delimiter: .* is not one character"):
            rows("csv", path, delimiter=wrong)


@pytest.mark.parametrize(
    ("written", "said"),
    [("utf-8-sig", "utf-8"), ("utf-8-sig", "UTF8"), ("utf-8-sig", ""), ("utf-16", "utf-16-le"), ("utf-32", "utf-32-le"), ("utf-8", "utf8")],
)
@pytest.mark.parametrize(("name", "inner"), [("csv", "text,label\nhello,a\n"), ("jsonl", '{"text": "hello", "label": "a"}\n')])
def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path, written: str, said: str, name: str, inner: str) -> None:
    path = tmp_path / f"a.{name}"
    path.write_bytes(inner.encode(written))
    assert rows(name, path, encoding=said)[0].values == {"text": "hello", "label": "a"}  # type: ignore[union-attr]


def test_bytes_that_are_not_utf8_are_a_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\n" + b"plain text,a\n" * 9000 + b"caf\xe9,b\n")
    found = rows("csv", path)
    assert len(found) == 9001
    assert isinstance(found[-1], BadRow)
    assert "UTF-8" in found[-1].reason
    assert rows("csv", path, encoding="cp1252")[-1].values["text"] == "café"  # type: ignore[union-attr]
    assert isinstance(rows("csv", path, encoding="UTF8")[-1], BadRow), "whatever one calls it"
    assert "--set data.encoding=cp1252" in found[-1].remedy


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


def test_prompts_and_completions_become_conversations_for_tasks_that_want_messages(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    pairs: list[dict[str, object]] = [
        {"prompt": " where is it? ", "completion": " On its way. ", "topic": "t"},
        {"prompt": "hi"},
        {"prompt": ["hi"], "completion": "x"},
    ]
    path.write_text("\n".join(map(json.dumps, pairs)))
    assert [sources._sniff(path, path.read_bytes(), columns) for columns in ((), ("messages",))] == ["jsonl", "openai-completion"]
    found = rows("openai-completion", path)
    messages = [{"role": "user", "content": "where is it?"}, {"role": "assistant", "content": "On its way."}]
    assert found[0].values == {"messages": messages, "topic": "t"}  # type: ignore[union-attr]
    assert found[1:] == [
        BadRow(2, "completion", "is missing or empty", 'write {"prompt": "...", "completion": "..."}'),
        BadRow(3, "prompt", "is no text", 'write {"prompt": "...", "completion": "..."}'),
    ]


def test_what_was_said_after_the_last_reply_is_no_part_of_the_question(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    user, assistant = "user", "assistant"
    chats = [
        [(user, "my card is lost"), (assistant, "card"), (user, "thanks, and my refund?")],
        [(user, "hi"), (assistant, "hello"), (user, "my card"), (assistant, "card"), (user, "bye")],
        [(assistant, "card"), (user, "hi")],
    ]
    path.write_text("\n".join(json.dumps({"messages": [{"role": r, "content": c} for r, c in chat]}) for chat in chats))
    found = rows("openai-chat", path)
    assert [row.values["text"] for row in found[:2]] == ["my card is lost", "hi\nmy card"]  # type: ignore[union-attr]
    assert isinstance(found[2], BadRow)
    assert "before the reply that is the label" in found[2].reason


def test_the_label_is_the_last_reply_that_is_learned(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    user, thanks = ({"role": "user", "content": said} for said in ("my card", "bye"))
    reply: dict[str, object] = {"role": "assistant", "content": "card"}
    closing = {"role": "assistant", "content": "you are welcome"}
    chats = [
        [user, reply | {"weight": 1}, thanks, closing | {"weight": 0}],
        [user, reply | {"weight": None}, thanks, closing],
        [user, reply | {"weight": 0}],
        [user, reply | {"weight": 0.5}],
        [{"role": "assistant", "content": "hello"}, user | {"content": "  "}, reply],
        [user, {"role": "assistant", "content": None, "refusal": "no"}],
        [user, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
    ]
    path.write_text("\n".join(json.dumps({"messages": chat}) for chat in chats))
    found = rows("openai-chat", path)
    assert found[0].values == {"text": "my card", "label": "card"}  # type: ignore[union-attr]
    assert found[1].values == {"text": "my card\nbye", "label": "you are welcome"}  # type: ignore[union-attr]
    assert found[2:5] == [
        BadRow(3, "messages", "every message of the assistant has weight 0", "give the label weight 1, or leave the weights out"),
        BadRow(4, "messages[1].weight", "is 0.5", "use 0 (read only) or 1 (learn)"),
        BadRow(5, "messages", "there is no text of the user before the reply that is the label", "add a message with role 'user'"),
    ]
    assert [row.values["label"] for row in found[5:]] == ["no", "no"]  # type: ignore[union-attr]


@pytest.mark.parametrize(("part", "text"), [(None, "hi\n"), (5, ""), (["a"], "")])
def test_a_part_of_a_message_without_text(tmp_path: Path, part: object, text: str) -> None:
    path = tmp_path / "a.jsonl"
    content = [{"type": "text", "text": "hi"}, {"type": "text", "text": part}, {"type": "image_url", "image_url": {}}]
    messages = [{"role": "user", "content": content}, {"role": "assistant", "content": "card"}]
    path.write_text(json.dumps({"messages": messages}) + "\n")
    (found,) = rows("openai-chat", path)
    if text:
        assert found.values["text"] == text  # type: ignore[union-attr]
    else:
        assert found == BadRow(1, "messages[0].content", f"is {type(part).__name__}, not text", "write the message as a string")


def _not_utf8() -> Any:
    import pyarrow as pa

    return pa.table({"text": pa.array([b"good", b"caf\xe9", b"fine"], pa.binary()).view(pa.string()), "label": ["a", "b", "c"]})


def test_text_that_is_not_utf8_is_a_bad_row_of_parquet_and_saved_sets(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(_not_utf8(), tmp_path / "a.parquet")
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "state.json").write_text(json.dumps({"_data_files": [{"filename": "a.arrow"}]}))
    with pa.OSFile(str(saved / "a.arrow"), "wb") as file, pa.ipc.new_stream(file, _not_utf8().schema) as writer:
        writer.write_table(_not_utf8())
    for name, path in (("parquet", tmp_path / "a.parquet"), ("saved-dataset", saved)):
        found = rows(name, path)
        assert [(row.line, type(row)) for row in found] == [(1, Row), (2, BadRow), (3, Row)]
        assert "not UTF-8" in found[1].reason  # type: ignore[union-attr]
        assert found[2].values == {"text": "fine", "label": "c"}  # type: ignore[union-attr]


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
