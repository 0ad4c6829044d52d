"""Where the clauses of a message begin, by punctuation and joining words: the places at which one question can end and another begin."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

ENDS = re.compile(
    r"[.?!;\n]+\s+|[.?!;\n]+$|\n|,\s+|\s-\s|(?<=[a-z])[.?!](?=[A-Z])"
    r"|\s(?=(?:and|also|plus|then|besides|furthermore|additionally|secondly|finally|but)\b)",
    re.IGNORECASE,
)
"""After each match a clause begins."""


def clause_numbers(text: str, places: Any) -> Any:
    """[tokens] int64: the number (from 1) of the clause that a word stands in, at its first token; 0 for other tokens.

    ``places`` [tokens,2]: where each word stands, 0 and 0 for tokens that begin none.
    """
    begins = np.array([match.end() for match in ENDS.finditer(text)] or [len(text) + 1])
    words = places[:, 1] > places[:, 0]
    return np.where(words, np.searchsorted(begins, places[:, 0], side="right") + 1, 0).astype(np.int64)


def clauses_of(numbers: Any) -> list[Any]:
    """The token numbers of each clause, in order."""
    return [np.flatnonzero(numbers == one) for one in np.unique(numbers[numbers > 0])]
