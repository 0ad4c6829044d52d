"""Masks personal data in a training file that has passed its check, for workspaces that keep no file unmasked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luthier.app import jsonl_lines
from luthier.app.file_checks import HEAD_BYTES, Beat, format_of, is_jsonl, table_rows
from luthier.core.personal_data import Numbers, mask_text
from luthier.core.ports import BadRow

_WORDS_OF_THE_FORMAT = frozenset({"role", "type", "id", "tool_call_id", "image_url", "tools", "functions"})
"""Keys whose values are no one's words: masking them would break the row."""


class FileMasking:
    """The masked rows of one file, and what was found in them. The same value has the same pseudonym within a row."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()

    def lines(self, path: Path, filename: str, beat: Beat = lambda: None) -> Iterator[bytes]:
        """The file as masked JSONL; a table of another format becomes JSONL too (its own cannot be rewritten value by value)."""
        for values in self._rows(path, filename):
            beat()
            yield json.dumps(self._masked(values, {}), ensure_ascii=False, default=str).encode() + b"\n"

    def _rows(self, path: Path, filename: str) -> Iterator[dict[str, Any]]:
        with path.open("rb") as handle:
            head = handle.read(HEAD_BYTES)
        if is_jsonl(head, filename):
            yield from (jsonl_lines.parse(line.data) for line in jsonl_lines.lines(path))
            return
        for row in table_rows(path, format_of(path, filename, head)):
            if not isinstance(row, BadRow):
                yield row.values

    def _masked(self, value: Any, numbers: Numbers) -> Any:
        if isinstance(value, str):
            masked, found = mask_text(value, numbers=numbers)
            self.found.update(found)
            return masked
        if isinstance(value, list):
            return [self._masked(one, numbers) for one in value]
        if isinstance(value, dict):
            return {key: one if key in _WORDS_OF_THE_FORMAT else self._masked(one, numbers) for key, one in value.items()}
        return value

    @property
    def said(self) -> str:
        """``personal data masked: 3 EMAIL, 1 PHONE``."""
        kinds = ", ".join(f"{times} {kind}" for kind, times in self.found.most_common())
        return f"personal data masked: {kinds or 'none found'}"
