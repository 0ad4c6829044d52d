"""Masks personal data in a file of rows that has passed its check, for workspaces that keep no file unmasked."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luthier.app import jsonl_lines, row_spans
from luthier.app.file_checks import HEAD_BYTES, Beat, format_of, is_jsonl, table_rows
from luthier.core.edits import applied
from luthier.core.personal_data import Numbers, mask_edits, mask_text
from luthier.core.ports import BadRow
from luthier.core.preference_rules import NOT_PREFERRED, PREFERRED

_WORDS_OF_THE_FORMAT = frozenset({"role", "type", "id", "tool_call_id", "image_url"})
"""Keys of a training file's messages whose values are no one's words: masking them would break the row."""

_MESSAGES = frozenset({"messages", *PREFERRED, *NOT_PREFERRED, "tools", "functions"})
"""Where these keys are; a column of a table that is called "id" is a column like others."""

_PICTURE = re.compile(r"data:image/[\w.+-]{1,40};base64,[A-Za-z0-9+/=]*")


class FileMasking:
    """The masked rows of one file, and what was found in them. The same value has the same pseudonym within a row.

    ``training``: the file must keep the form of its messages; of any other one every text is masked, names of columns too.
    """

    def __init__(self, *, training: bool = True) -> None:
        self.training = training
        self.found: Counter[str] = Counter()
        self.pictures = 0

    def lines(self, path: Path, filename: str, beat: Beat = lambda: None) -> Iterator[bytes]:
        """The file as masked JSONL; a table of another format becomes JSONL too (its own cannot be rewritten value by value)."""
        for values in self._rows(path, filename):
            beat()
            yield json.dumps(self._row(values), ensure_ascii=False, default=str).encode() + b"\n"

    def _rows(self, path: Path, filename: str) -> Iterator[dict[str, Any]]:
        with path.open("rb") as handle:
            head = handle.read(HEAD_BYTES)
        if is_jsonl(head, filename):
            yield from (jsonl_lines.parse(line.data) for line in jsonl_lines.lines(path))
            return
        for row in table_rows(path, format_of(path, filename, head)):
            if not isinstance(row, BadRow):
                yield row.values

    def _row(self, values: dict[str, Any]) -> Any:
        """One row; spans that count characters of its text move with them, and lose what they quote of it."""
        column, numbers = row_spans.text_column(values), Numbers()
        if not column:
            return self._masked(values, numbers, False)
        changes, found = mask_edits(values[column], numbers=numbers)
        self.found.update(found)
        moved = {name: row_spans.moved(value, changes) if row_spans.spans_of(value) else value for name, value in values.items()}
        others = self._masked({name: value for name, value in moved.items() if name != column}, numbers, False)
        return {column: applied(values[column], changes), **others}

    def _masked(self, value: Any, numbers: Numbers, inside: bool) -> Any:
        """``inside``: what the messages of a training file hold."""
        if isinstance(value, str):
            return self._text(value, numbers)
        if isinstance(value, list):
            return [self._masked(one, numbers, inside) for one in value]
        if isinstance(value, dict):
            return {self._text(key, numbers): self._field(key, one, numbers, inside) for key, one in value.items()}
        if isinstance(value, int) and not isinstance(value, bool):  # a card's number is one without quotation marks, too
            masked = self._text(str(value), numbers)
            return value if masked == str(value) else masked
        return value

    def _field(self, key: str, value: Any, numbers: Numbers, inside: bool) -> Any:
        if inside and key in _WORDS_OF_THE_FORMAT:
            self.pictures += key == "image_url"
            return value
        return self._masked(value, numbers, inside or (self.training and key in _MESSAGES))

    def _text(self, text: str, numbers: Numbers) -> str:
        if _PICTURE.fullmatch(text):
            self.pictures += 1
            return text
        masked, found = mask_text(text, numbers=numbers)
        self.found.update(found)
        return masked

    @property
    def said(self) -> str:
        """``personal data masked: 3 EMAIL, 1 PHONE; not masked: 2 pictures``."""
        kinds = ", ".join(f"{times} {kind}" for kind, times in self.found.most_common())
        pictures = f"; not masked: {self.pictures} picture{'' if self.pictures == 1 else 's'}" if self.pictures else ""
        return f"personal data masked: {kinds or 'none found'}{pictures}"
