"""CoNLL: a word a line with its tag in the last column, an empty line between texts; rows are texts with their spans.

Tags may be BIO, BILOU, BIOES or the older IOB (Tjong Kim Sang and De Meulder 2003). The text is the words, joined by spaces: how they were
spaced is not in such a file. A comment line ``# intents: a, b`` before a text gives its intents.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luthier.core import tags
from luthier.core.errors import InputError
from luthier.core.ports import BadRow, Row
from luthier.formats import _text

TAG = re.compile(r"O|[BILUES]-\S+")
BIOES = {"E": "L", "S": "U"}
DOCUMENT = "-DOCSTART-"
HINT = "write a word and its tag (B-city, I-city or O) on each line, and an empty line after each text"


class Conll:
    """See the module."""

    name = "conll"
    summary = "a word and its tag a line, an empty line between texts (BIO, BILOU, IOB)"
    suffixes = (".conll", ".bio", ".iob")

    def sniff(self, path: Path, head: bytes) -> float:
        """Sure by its suffix, likely when every line ends with a tag."""
        if _text.inner_suffix(path) in self.suffixes:
            return 0.9
        lines = [line.split() for line in head.decode("utf-8", "replace").splitlines()[:200]]
        words = [line for line in lines if line and not line[0].startswith("#") and line[0] != DOCUMENT]
        if not words or not any(not line for line in lines):
            return 0.0
        return 0.7 if all(len(line) > 1 and TAG.fullmatch(line[-1]) for line in words) else 0.0

    def rows(self, path: Path, *, encoding: str = "", delimiter: str = "") -> Iterator[Row | BadRow]:
        """``text``, ``entities`` and, where a comment gives them, ``intents``; a text with a line that has no tag is a ``BadRow``."""
        with _text.opened(path, encoding) as opened, _text.damage_named(path):
            held = _Held()
            texts = 0
            for number, line in enumerate(_text.lines(path, opened.text, HINT), 1):
                if held.take(number, line, delimiter):
                    continue
                texts += 1
                yield held.row(opened.raw.tell())
                held = _Held()
            if held.words or held.wrong:
                texts += 1
                yield held.row(opened.raw.tell())
            if not texts:
                raise InputError(f"{path}: there is no word in it", HINT)


class _Held:
    """The lines of one text."""

    def __init__(self) -> None:
        self.line, self.words, self.tags, self.wrong = 0, list[str](), list[str](), ""
        self.intents: list[str] | None = None

    def take(self, number: int, line: str, delimiter: str) -> bool:
        """Takes a line; False for the one that ends the text."""
        cells = line.strip().split(delimiter or None)
        if not cells or cells[0] == DOCUMENT:
            return not (self.words or self.wrong)
        if cells[0].startswith("#") and not self.words and not _tagged(cells):
            name, sign, rest = line.strip().lstrip("# ").partition(":")
            if sign and name.strip() == "intents":
                self.intents = [one.strip() for one in rest.split(",") if one.strip()]
            return True
        self.line = self.line or number
        if len(cells) < 2 or not TAG.fullmatch(cells[-1]):
            self.wrong = self.wrong or f"line {number} ends with {cells[-1][:40]!r}, which is no tag"
        elif _text.undecodable(line):
            self.wrong = self.wrong or _text.NOT_UTF8[0]
        else:
            self.words.append(cells[0])
            self.tags.append(BIOES.get(cells[-1][0], cells[-1][0]) + cells[-1][1:])
        return True

    def row(self, at_bytes: int) -> Row | BadRow:
        """The text and its spans."""
        if self.wrong:
            return BadRow(self.line, "tags", self.wrong, HINT)
        ends = _ends(self.words)
        places = [(end - len(word), end) for word, end in zip(self.words, ends, strict=True)]
        values: dict[str, Any] = {"text": " ".join(self.words), "entities": tags.entities_of(tags.runs_of(self.tags), places)}
        return Row(self.line, values | ({} if self.intents is None else {"intents": self.intents}), at_bytes)


def _tagged(cells: list[str]) -> bool:
    """Whether a line that begins with # is a word and its tag (``#refund O``, ``# O``) and no comment."""
    return len(cells) > 1 and TAG.fullmatch(cells[-1]) is not None and (cells[0] != "#" or len(cells) <= 4) and "intents:" not in cells[:2]


def _ends(words: list[str]) -> list[int]:
    found, at = [], -1
    for word in words:
        at += len(word) + 1
        found.append(at)
    return found


plugin = Conll()
