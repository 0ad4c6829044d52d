"""Shows which messages of a training file are learned, before anything is trained: the preview of the loss mask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from luthier.app import jsonl_lines, row_rules
from luthier.app.deciding import CLASSIFIER, GENERATOR, PREFERENCE
from luthier.app.file_checks import HEAD_BYTES, is_jsonl
from luthier.app.reply_census import ReplyCensus
from luthier.core.errors import InputError, RowError
from luthier.core.message_rules import Reply, estimated_tokens

SHOWN_CHARACTERS = 200
READ_BYTES = 8_000_000
"""What is counted exactly; the rest of a larger file is estimated from it."""

Count = Callable[[str], int]


def loss_mask(
    path: Path, tokenizer_folder: Path | None = None, limit: int = 20, *, facts: Mapping[str, Any] | None = None, architecture: str = ""
) -> dict[str, Any]:
    """Per row of the first ``limit``, per message: role, whether it is trained, its text (shortened) and tokens; and sums over all rows.

    Replies that are labels (by the file's ``facts``, where it was checked) train a classifier, which learns one message of each row, the
    ``label``; unless the ``architecture`` of the model is no encoder's. Everything else trains a writer, which learns each message of
    weight 1.

    Tokens are counted with the tokenizer, where its folder is given, else a quarter of the characters. ``trainable_tokens`` is over the
    whole file; ``estimated`` says that it was extrapolated from the first 8 MB. Raises ``InputError`` for a table: it has no messages.
    """
    with path.open("rb") as handle:
        head = handle.read(HEAD_BYTES)
    if not is_jsonl(head, path.name):
        raise _no_messages()
    seen = _Seen(_counter(tokenizer_folder), limit)
    for line in jsonl_lines.lines(path):
        if line.end_bytes > READ_BYTES and seen.rows >= limit:
            break
        try:
            seen.take(line.number, jsonl_lines.parse(line.data))
        except RowError as error:
            raise InputError(f"line {line.number}: {error.message}", error.hint) from None
        seen.read = line.end_bytes
    return seen.said(path.stat().st_size, (facts or {}).get("reply", ""), architecture)


class _Seen:
    """The rows that were read, and their sums by what would be trained."""

    def __init__(self, count: Count, limit: int) -> None:
        self.count, self.limit = count, limit
        self.kind: row_rules.Kind | None = None
        self.rows = self.read = self.tokens = 0
        self.trained = {CLASSIFIER: 0, GENERATOR: 0}
        self.census = ReplyCensus()
        self.shown: list[dict[str, Any]] = []

    def take(self, line: int, values: dict[str, Any]) -> None:
        self.kind = self.kind or row_rules.kind_of(values)
        row = row_rules.check(values, self.kind)
        if self.kind == "table":
            raise _no_messages()
        messages = [_shown(reply, self.count) for reply in row.replies]
        self.rows += 1
        self.tokens += sum(message["tokens"] for message in messages)
        self.trained[GENERATOR] += sum(message["tokens"] for message in messages if message["trained"])
        if row.label is not None:
            self.trained[CLASSIFIER] += messages[row.label]["tokens"]
            self.census.add(row.reply)
        if len(self.shown) < self.limit:
            self.shown.append({"line": line, "label": row.label, "messages": messages})

    def said(self, size: int, reply: str, architecture: str) -> dict[str, Any]:
        """The answer; only now is it known what the replies are."""
        closed = (reply or self.census.facts()["reply"]) == "labels" and self.kind in ("chat", "completion")
        task = CLASSIFIER if closed and architecture in ("", "encoder") else GENERATOR
        for row in self.shown:
            if task != CLASSIFIER:
                row["label"] = None
                continue
            for number, message in enumerate(row["messages"]):
                message["trained"] = number == row["label"]
        estimated = self.read < size and bool(self.read) and size > READ_BYTES
        factor = size / self.read if estimated else 1.0
        whole = {"total_rows": self.rows, "total_tokens": self.tokens, "trainable_tokens": self.trained[task]}
        sums = {name: round(value * factor) for name, value in whole.items()}
        named = PREFERENCE if self.kind == "preference" else task
        return {"kind": self.kind or "", "task": named, "rows": self.shown} | sums | {"estimated": estimated}


def _no_messages() -> InputError:
    return InputError("a table has no messages: its label column is learned", "ask for a file of chats or of prompts and completions")


def _shown(reply: Reply, count: Count) -> dict[str, Any]:
    text = reply.text if len(reply.text) <= SHOWN_CHARACTERS else reply.text[: SHOWN_CHARACTERS - 1] + "…"
    return {"role": reply.role, "trained": reply.trained, "text": text, "tokens": count(reply.text)}


def _counter(folder: Path | None) -> Count:
    if folder is None:
        return estimated_tokens
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()  # what a model's own file says is for batches: every text would count as its longest
    tokenizer.no_truncation()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
