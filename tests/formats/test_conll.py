"""CoNLL files: texts with their spans, whatever the scheme; a line without a tag refuses its text and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import InputError
from luthier.core.ports import BadRow, Row
from luthier.formats.conll import plugin

BIO = """-DOCSTART- -X- O O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
New NNP B-NP B-LOC
York NNP I-NP I-LOC
. . O O

Peter NNP B-NP B-PER
"""


def _rows(folder: Path, text: str) -> list[Any]:
    path = folder / "made.conll"
    path.write_text(text, encoding="utf-8")
    return list(plugin.rows(path))


def _spans(row: Row) -> list[tuple[str, str]]:
    return [(row.values["text"][one["start"] : one["end"]], one["label"]) for one in row.values["entities"]]


def test_texts_and_spans(tmp_path: Path) -> None:
    first, second = _rows(tmp_path, BIO)
    assert first.values["text"] == "EU rejects New York ."
    assert _spans(first) == [("EU", "ORG"), ("New York", "LOC")]
    assert first.line == 3
    assert _spans(second) == [("Peter", "PER")]


@pytest.mark.parametrize("tags", ["B I O", "B L O", "B E O", "I I O"])
def test_every_scheme(tmp_path: Path, tags: str) -> None:
    words = zip(("New", "York", "sleeps"), tags.split(), strict=True)
    (row,) = _rows(tmp_path, "".join(f"{word}\t{tag if tag == 'O' else tag + '-LOC'}\n" for word, tag in words))
    assert _spans(row) == [("New York", "LOC")]


def test_a_comment_gives_the_intents(tmp_path: Path) -> None:
    first, second = _rows(tmp_path, "# intents: track, cancel\nhello O\n\nthere O\n")
    assert first.values["intents"] == ["track", "cancel"]
    assert "intents" not in second.values


def test_a_first_word_that_begins_with_a_number_sign_is_no_comment(tmp_path: Path) -> None:
    one, two, three = _rows(tmp_path, "#Berlin B-LOC\nis O\n\n# O\n5 O\n\n# a text of O\n#refund NN O\n")
    assert _spans(one) == [("#Berlin", "LOC")]
    assert [row.values["text"] for row in (one, two, three)] == ["#Berlin is", "# 5", "#refund"]


def test_a_line_without_a_tag(tmp_path: Path) -> None:
    bad, good = _rows(tmp_path, "hello O\nthere\n\nPeter B-PER\n")
    assert isinstance(bad, BadRow)
    assert "line 2" in bad.reason
    assert _spans(good) == [("Peter", "PER")]


def test_a_file_without_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no word"):
        _rows(tmp_path, "\n\n")


def test_it_is_recognised() -> None:
    assert plugin.sniff(Path("made.txt"), BIO.encode()) > 0.5
    assert plugin.sniff(Path("made.txt"), b"a table\n\nof words\n") == 0.0
