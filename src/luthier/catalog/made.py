"""Data sets that Luthier makes itself, seeded: the same name, seed and row number give the same row on any machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from luthier.catalog import personal_sentences, plain_contracts, product_pictures, support_conversations, support_messages
from luthier.core.errors import InputError, UnknownName

_MAKERS: dict[str, Callable[[int, int], Iterator[dict[str, Any]]]] = {
    "support-messages": support_messages.rows,
    "support-questions": support_messages.question_rows,
    "support-messages-out-of-scope": support_messages.out_of_scope_rows,
    "personal-sentences": personal_sentences.rows,
    "plain-contracts": plain_contracts.rows,
    "support-conversations": support_conversations.rows,
    "product-pictures": product_pictures.rows,
}
NAMES: tuple[str, ...] = tuple(_MAKERS)
"""What ``made:NAME`` may name in a recipe."""

ROWS = 2400
"""Rows of a made data set when a recipe says nothing."""


def make(name: str, rows: int = 0, seed: int = 7) -> Iterator[dict[str, Any]]:
    """The first ``rows`` rows (0: 2,400) of a made data set; raises ``UnknownName``. A longer set begins with the shorter one."""
    if name not in _MAKERS:
        raise UnknownName.among("made data set", name, NAMES)
    if rows < 0:
        raise InputError(f"rows: {rows} is below 0", "give the number of rows to make, or 0 for the default")
    return _MAKERS[name](rows or ROWS, seed)
