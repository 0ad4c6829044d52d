"""Counts the last replies of a file, to tell labels from free text: whether the file trains a classifier or a writer."""

from __future__ import annotations

from collections import Counter
from typing import Any

MOST_LABELS = 200
LONGEST_LABEL = 64
FEWEST_ROWS_A_LABEL = 3.0
"""On average: fewer, and the replies are as good as free."""


class ReplyCensus:
    """Labels, when there are 2 to 200 distinct replies, none longer than 64 characters or of several lines, each given 3 times on average.

    Memory is bounded: counting ends as soon as the replies cannot be labels any more.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._open = True

    def add(self, reply: str) -> None:
        """One row's last reply ("" where it is no text, which makes the file one of free replies)."""
        if not self._open:
            return
        self._counts[reply] += 1
        if not reply or len(reply) > LONGEST_LABEL or "\n" in reply or "\r" in reply or len(self._counts) > MOST_LABELS:
            self._open = False
            self._counts.clear()

    def facts(self) -> dict[str, Any]:
        """``reply`` is "labels" or "text"; with labels also ``labels``, the most frequent first, and ``label_counts``."""
        enough = len(self._counts) >= 2 and self._counts.total() >= FEWEST_ROWS_A_LABEL * len(self._counts)
        if not self._open or not enough:
            return {"reply": "text"}
        ordered = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        return {"reply": "labels", "labels": [label for label, _ in ordered], "label_counts": dict(ordered)}
