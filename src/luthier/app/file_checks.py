"""Looks at every row of an uploaded training file before anybody trains on it: what it is, and what is wrong, by line and with the remedy.

One pass, in bounded memory. Any bad row makes the file an error, as it does at OpenAI: a training that silently left rows out would be
another training.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from luthier.app import jsonl_lines, row_rules
from luthier.app.reply_census import ReplyCensus
from luthier.core import registry
from luthier.core.errors import InputError, LuthierError, RowError, UnsafeFile
from luthier.core.message_rules import shown_key, tokens
from luthier.core.ports import BadRow, Format, Row

FEWEST_ROWS = 10
MOST_NAMED = 20
MOST_COLUMNS = 100
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
HEAD_BYTES = 65_536
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]+")

Beat = Callable[[], None]
"""Called for every row: who checks can show that it lives, or stop by raising."""


@dataclass
class Verdict:
    """What the check found. ``facts`` are filled when there is no problem."""

    facts: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    bad_rows: int = 0

    @property
    def good(self) -> bool:
        """Whether the file can be trained on."""
        return not self.problems

    @property
    def details(self) -> str:
        """Up to 20 problems, each with its line and remedy, and how many more there are."""
        more = self.bad_rows - len(self.problems)
        return "; ".join(self.problems) + (f"; and {more:,} more bad rows" if more > 0 else "")

    def refuse(self, line: int, error: LuthierError) -> None:
        """Counts a bad row, and names it if it is among the first."""
        self.bad_rows += 1
        if len(self.problems) < MOST_NAMED:
            self.problems.append(said(line, error))


def said(line: int, error: LuthierError) -> str:
    """``line 18: messages[2].role is 'asistant': did you mean 'assistant'?``"""
    what = f"{error.field} {error.reason}".strip() if isinstance(error, RowError) else error.message
    text = f"line {line}: {what}" + (f": {error.hint}" if error.hint else "")
    return _CONTROL.sub(" ", text)[:500]


def check_training_file(path: Path, filename: str, beat: Beat = lambda: None) -> Verdict:
    """Checks a file of the purpose fine-tune; ``filename`` is how its owner called it."""
    verdict = Verdict()
    with path.open("rb") as handle:
        head = handle.read(HEAD_BYTES)
    try:
        if is_jsonl(head, filename):
            jsonl_lines.refuse_other_encodings(head)
            _check_jsonl(path, verdict, beat)
        else:
            _check_table(path, filename, format_of(path, filename, head), verdict, beat)
    except RowError:
        raise
    except (InputError, UnsafeFile) as error:
        text = error.message.replace(str(path), filename)
        verdict.problems.append(
            _CONTROL.sub(" ", (text if "line " in text else f"line 1: {text}") + (f": {error.hint}" if error.hint else ""))[:800]
        )
    return verdict


def check_batch_file(path: Path, beat: Beat = lambda: None) -> Verdict:
    """Checks that every line is a JSON object."""
    verdict, rows = Verdict(), 0
    for line in jsonl_lines.lines(path):
        beat()
        rows += 1
        try:
            jsonl_lines.parse(line.data)
        except RowError as error:
            verdict.refuse(line.number, error)
    if verdict.good:
        verdict.facts = {"kind": "batch", "rows": rows}
    return verdict


def check_rows(path: Path, filename: str, beat: Beat = lambda: None) -> Verdict:
    """Checks that a file is one of rows that can be read one by one: JSON objects, or a table whose name says so."""
    verdict = Verdict()
    with path.open("rb") as handle:
        head = handle.read(HEAD_BYTES)
    if is_jsonl(head, filename):
        return Verdict({}, (found := check_batch_file(path, beat)).problems, found.bad_rows)
    try:
        if not filename.lower().endswith(suffixes()):
            raise InputError(f"{filename} is no file of rows", "give JSONL, CSV, TSV or Parquet, named so")
        for row in table_rows(path, format_of(path, filename, head)):
            beat()
            if isinstance(row, BadRow):
                verdict.refuse(row.line, RowError(row.field, row.reason, row.remedy))
    except (InputError, UnsafeFile) as error:
        verdict.problems.append(_CONTROL.sub(" ", error.message.replace(str(path), filename) + f": {error.hint}")[:800])
    return verdict


def is_jsonl(head: bytes, filename: str) -> bool:
    """Whether the file is read as JSONL: by its name, or because it opens an object."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return filename.lower().endswith(JSON_SUFFIXES) or start in (b"{", b"[")


def suffixes() -> tuple[str, ...]:
    """The endings of file names that some format reads."""
    return tuple(suffix for plugin in _formats() for suffix in plugin.suffixes)


def _formats() -> list[Format]:
    """The formats of single files (a saved dataset is a folder)."""
    return [registry.get("formats", name) for name in registry.names("formats") if name != "saved-dataset"]


def format_of(path: Path, filename: str, head: bytes) -> Format:
    """The format that is surest of the file; raises ``InputError`` when none is, and for compressed files (which may hold a bomb)."""
    jsonl_lines.refuse_other_encodings(head)
    formats = _formats()
    sureness = {plugin.name: plugin.sniff(path if path.suffix else Path(filename), head) for plugin in formats}
    best = max(formats, key=lambda plugin: sureness[plugin.name])
    if sureness[best.name] <= 0:
        raise InputError(f"line 1: {filename} is no training file", "give JSONL, CSV, TSV or Parquet")
    return best


# -- JSONL ----------------------------------------------------------------------------------------------------------------


class Gathered:
    """What the good rows come to, gathered on the way."""

    def __init__(self) -> None:
        self.kind: row_rules.Kind | None = None
        self.rows = self.tokens = self.trained = 0
        self.columns: dict[str, None] = {}
        self.texts = False
        self.census = ReplyCensus()
        self.unasked: list[int] = []
        self.unasked_rows = 0

    def take(self, values: dict[str, Any], line: int = 0) -> None:
        """Checks a row by the kind of the file (which the first row decides) and counts it; raises ``RowError``."""
        kind = self.kind or row_rules.kind_of(values)
        row = row_rules.check(values, kind)
        self.kind = kind
        self.rows += 1
        self.tokens += tokens(row.replies)
        self.trained += tokens(row.replies, trained=True)
        if kind in ("chat", "completion"):
            self.census.add(row.reply)
            if not row.asked:
                self.unasked_rows += 1
                self.unasked += [line] if len(self.unasked) < MOST_NAMED else []
        if kind == "table":
            self._columns(values)

    def _columns(self, values: dict[str, Any]) -> None:
        if not self.columns:
            self.columns = dict.fromkeys(list(values)[:MOST_COLUMNS])
        elif not set(values) & set(self.columns):
            raise RowError("", "has none of the first row's columns", "columns: " + ", ".join(map(shown_key, self.columns)))
        self.texts = self.texts or any(isinstance(value, str) for value in values.values())

    def facts(self) -> dict[str, Any]:
        """The file's facts; raises ``InputError`` when it is too little to train on."""
        if self.rows < FEWEST_ROWS:
            rows = f"{self.rows} row" + ("" if self.rows == 1 else "s")
            raise InputError(f"line {max(1, self.rows)}: the file ends with {rows}", f"a training needs {FEWEST_ROWS} at least")
        if self.kind == "table" and (len(self.columns) < 2 or not self.texts):
            raise InputError(
                "line 1: the rows are no chats and no table with a text and a label", "see docs/files.md for the kinds of rows"
            )
        trained = self.rows if self.kind in ("chat", "completion", "preference") else 0
        made: dict[str, Any] = {"kind": self.kind, "rows": self.rows, "tokens": self.tokens}
        if trained:
            made |= {"trainable_rows": trained, "trainable_tokens": self.trained}
        if self.kind in ("chat", "completion"):
            made |= self.census.facts() | ({"unasked_rows": self.unasked_rows} if self.unasked_rows else {})
        return made | ({"columns": [_CONTROL.sub(" ", name)[:100] for name in self.columns]} if self.columns else {})


def _check_jsonl(path: Path, verdict: Verdict, beat: Beat) -> None:
    gathered = Gathered()
    for line in jsonl_lines.lines(path):
        beat()
        try:
            gathered.take(jsonl_lines.parse(line.data), line.number)
        except RowError as error:
            verdict.refuse(line.number, error)
    if gathered.unasked and gathered.census.facts()["reply"] == "labels":
        _refuse_unasked(gathered, verdict)
    if verdict.good:
        verdict.facts = gathered.facts() | {"format": "openai-chat" if gathered.kind == "chat" else "jsonl"}


def _refuse_unasked(gathered: Gathered, verdict: Verdict) -> None:
    """What trains a classifier must give it something to read. A writer may begin a chat: OpenAI's rules ask for no user's message."""
    chat = gathered.kind == "chat"
    reason = "there is no text of the user before the reply that is the label" if chat else "is empty"
    remedy = "add a message with role 'user': it is what the classifier reads" if chat else "write what the classifier reads"
    for line in gathered.unasked:
        verdict.refuse(line, RowError("messages" if chat else "prompt", reason, remedy))
    verdict.bad_rows += gathered.unasked_rows - len(gathered.unasked)


# -- tables ---------------------------------------------------------------------------------------------------------------


def table_rows(path: Path, plugin: Format) -> Iterator[Row | BadRow]:
    """The rows of a table. UTF-8 is asked for, as of every training file: a guessed encoding would be a silent change."""
    text = plugin.name in ("csv", "tsv")
    return plugin.rows(path, encoding="utf-8-sig" if text else "")


def _check_table(path: Path, filename: str, plugin: Format, verdict: Verdict, beat: Beat) -> None:
    gathered = Gathered()
    gathered.kind = "table"
    for row in table_rows(path, plugin):
        beat()
        if isinstance(row, BadRow):
            verdict.refuse(row.line, RowError(row.field, row.reason, row.remedy))
            continue
        try:
            gathered.take(row.values)
        except RowError as error:
            verdict.refuse(row.line, error)
    if verdict.good:
        verdict.facts = gathered.facts() | {"format": plugin.name}
