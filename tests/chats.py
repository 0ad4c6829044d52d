"""Training files of chats, as a caller would upload them: each row a message of the user and the label that answers it."""

from __future__ import annotations

import json
from collections.abc import Sequence


def lines(count: int = 12, text: str = "message {n}", reply: Sequence[str] = "ab") -> bytes:
    """JSONL of ``count`` chats; the replies take turns, and ``text`` may hold the row's number ``{n}`` and its ``{reply}``."""
    pairs = [(text.format(n=n, reply=reply[n % len(reply)]), reply[n % len(reply)]) for n in range(count)]
    rows = [{"messages": [{"role": "user", "content": said}, {"role": "assistant", "content": label}]} for said, label in pairs]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
