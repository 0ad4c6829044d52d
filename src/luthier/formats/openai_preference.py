"""OpenAI preference JSONL: ``{"input": {"messages": [...]}, "preferred_output": [...], "non_preferred_output": [...]}`` a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luthier.core import preference_rules
from luthier.core.errors import RowError
from luthier.core.ports import BadRow, Row
from luthier.formats._rows import converted
from luthier.formats.jsonl import read_objects

KEY = re.compile(rb'"(?:non_)?preferred_(?:output|completion)"\s*:')
"""As a key: in a text its quotation marks would be written with backslashes."""


def pair(values: dict[str, Any]) -> dict[str, Any]:
    """``{messages, tools, preferred_output, non_preferred_output}``; raises ``RowError`` that names the field in the file."""
    if not preference_rules.is_pair(values) and "input" not in values:
        kind = "is a chat" if "messages" in values else "has no answers"
        raise RowError("", f"{kind}, and the file holds preference pairs", f"keep one kind of row in a file: {preference_rules.FORM}")
    preference_rules.row(values)
    given, (better, worse) = values["input"], preference_rules.answers(values)
    tools = {"tools": given["tools"]} if given.get("tools") else {}
    return {"messages": given["messages"], **tools, "preferred_output": better, "non_preferred_output": worse}


class OpenaiPreference:
    """See the module."""

    name = "openai-preference"
    summary = "OpenAI preference JSONL: a conversation, the preferred answer and another one"
    suffixes = (".jsonl",)
    makes = ("preferred_output",)
    """Only for tasks that want these."""

    def sniff(self, path: Path, head: bytes) -> float:
        """Sure when any line that can be seen has a key of such a pair: the first may be the one of another kind."""
        return 0.97 if head.lstrip()[:1] == b"{" and KEY.search(head) else 0.0

    def rows(self, path: Path, *, encoding: str = "", delimiter: str = "") -> Iterator[Row | BadRow]:
        """Rows with ``messages`` and both outputs; a line that is no pair, or breaks a rule, is a ``BadRow``."""
        return (converted(row, pair) for row in read_objects(path, encoding))


plugin = OpenaiPreference()
