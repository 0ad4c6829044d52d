"""Shows which messages of a training file are learned, before anything is trained: the preview of the loss mask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from luthier.app import jsonl_lines, row_rules
from luthier.app.file_checks import HEAD_BYTES, is_jsonl
from luthier.app.message_rules import Reply, estimated_tokens
from luthier.core.errors import InputError, RowError

SHOWN_CHARACTERS = 200
READ_BYTES = 8_000_000
"""What is counted exactly; the rest of a larger file is estimated from it."""

Count = Callable[[str], int]


def loss_mask(path: Path, tokenizer_folder: Path | None = None, limit: int = 20) -> dict[str, Any]:
    """Per row of the first ``limit``, per message: role, whether it is trained, its text (shortened) and tokens; and sums over all rows.

    Tokens are counted with the tokenizer, where its folder is given, else a quarter of the characters. ``trainable_tokens`` is over the
    whole file; ``estimated`` says that it was extrapolated from the first 8 MB. Raises ``InputError`` for a table: it has no messages.
    """
    with path.open("rb") as handle:
        head = handle.read(HEAD_BYTES)
    if not is_jsonl(head, path.name):
        raise InputError("a table has no messages: its label column is learned", "ask for a file of chats or of prompts and completions")
    count = _counter(tokenizer_folder)
    shown: list[dict[str, Any]] = []
    kind, rows, tokens, trained, read = None, 0, 0, 0, 0
    for line in jsonl_lines.lines(path):
        if line.end_bytes > READ_BYTES and rows >= limit:
            break
        try:
            values = jsonl_lines.parse(line.data)
            kind = kind or row_rules.kind_of(values)
            row = row_rules.check(values, kind)
        except RowError as error:
            raise InputError(f"line {line.number}: {error.message}", error.hint) from None
        if kind == "table":
            raise InputError(
                "a table has no messages: its label column is learned", "ask for a file of chats or of prompts and completions"
            )
        messages = [_shown(reply, count) for reply in row.replies]
        rows, read = rows + 1, line.end_bytes
        tokens += sum(message["tokens"] for message in messages)
        trained += sum(message["tokens"] for message in messages if message["trained"])
        if len(shown) < limit:
            shown.append({"line": line.number, "messages": messages})
    return {"kind": kind or "", "rows": shown} | _sums(path.stat().st_size, read, rows, tokens, trained)


def _sums(size: int, read: int, rows: int, tokens: int, trained: int) -> dict[str, Any]:
    estimated = read < size and bool(read) and size > READ_BYTES
    factor = size / read if estimated else 1.0
    whole = {"total_rows": rows, "total_tokens": tokens, "trainable_tokens": trained}
    return {name: round(value * factor) for name, value in whole.items()} | {"estimated": estimated}


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
