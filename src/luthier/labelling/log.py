"""What holds now, read from the log of what people said: pure functions over entries that are never changed."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

from luthier.core.types import canonical_json
from luthier.labelling.values import Value

Verb: TypeAlias = Literal["accept", "correct", "skip", "undo", "settle", "share"]
"""``accept``/``correct``: an author's label (the suggestion, or another); ``skip``: cannot say; ``undo``: takes the author's last one back;
``settle``: the final label of a row, whatever authors said; ``share``: the row goes to every author, without a suggestion."""

LABELS = ("accept", "correct")
BREAK_S = 300.0
"""A longer pause between two labels of an author is a break, and says nothing of how long a label takes."""

SAME_S = 1e-3
"""Times that are nearer than this are one time, written down and read again."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the log. ``suggested``: ``{"value", "confidence", "by"}`` as the author saw it, or {}; ``undoes``: the seq taken back."""

    seq: int
    row: str
    author: str
    at: float
    verb: Verb
    value: Value = None
    suggested: dict[str, Any] = field(default_factory=dict)
    undoes: int = 0


class State:
    """What holds after these entries (in the order of their ``seq``)."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = list(entries)
        undone = {entry.undoes for entry in self.entries if entry.verb == "undo"}
        self.standing = [entry for entry in self.entries if entry.verb != "undo" and entry.seq not in undone]
        self.by_row: dict[str, dict[str, Entry]] = {}
        """Row -> author -> that author's label or skip (the last one that stands)."""
        self.settled: dict[str, Entry] = {}
        self.shared: dict[str, Entry] = {}
        for entry in self.standing:
            if entry.verb == "settle":
                self.settled[entry.row] = entry
            elif entry.verb == "share":
                self.shared.setdefault(entry.row, entry)
            else:
                self.by_row.setdefault(entry.row, {})[entry.author] = entry

    def labels(self, row: str) -> dict[str, Value]:
        """Author -> label of a row; skips are none."""
        return {author: entry.value for author, entry in self.by_row.get(row, {}).items() if entry.verb in LABELS}

    @cached_property
    def agreed(self) -> dict[str, Value]:
        """Row -> its label: what was settled, else what more than half of those who labelled it say (with two authors: both)."""
        found = {row: entry.value for row, entry in self.settled.items()}
        for row in self.by_row:
            if row not in found:
                values = list(self.labels(row).values())
                if len(values) == 1:
                    found[row] = values[0]
                    continue
                said = Counter(map(canonical_json, values))
                if said and (most := said.most_common(1)[0])[1] * 2 > said.total():
                    found[row] = next(value for value in values if canonical_json(value) == most[0])
        return found

    def unsaid(self, entries: Iterable[Entry], now: float) -> list[Entry]:
        """Of labels that came from elsewhere those that say something new, oldest first; those of ``now`` came without a time.

        The same file twice adds nothing, and what an author said since stays: neither a label that is older than what stands, nor one
        without a time that the author gave before, comes again.
        """
        entries, times = sorted(entries, key=lambda one: one.at), dict[tuple[str, str, str], list[float]]()
        rows = {entry.row for entry in entries}
        for one in self.entries:
            if one.row in rows and one.verb in LABELS:
                times.setdefault((one.row, one.author, canonical_json(one.value)), []).append(one.at)
        stands = {(row, author): one for row in rows for author, one in self.by_row.get(row, {}).items()}
        found = []
        for entry in entries:
            before = stands.get((entry.row, entry.author))
            earlier = times.get((entry.row, entry.author, canonical_json(entry.value)), [])
            if earlier and (entry.at == now or any(abs(at - entry.at) < SAME_S for at in earlier)):
                continue
            if before is not None and (entry.at < before.at or (before.verb in LABELS and before.value == entry.value)):
                continue
            stands[entry.row, entry.author] = entry
            found.append(entry)
        return found

    @cached_property
    def disputed(self) -> list[str]:
        """Rows with labels of which none is agreed upon."""
        return [row for row in self.by_row if row not in self.agreed and self.labels(row)]

    @cached_property
    def authors(self) -> list[str]:
        """Who labelled, in the order of their first label."""
        return list(dict.fromkeys(entry.author for entry in self.entries if entry.verb in LABELS))

    def last(self, author: str) -> Entry | None:
        """The author's newest entry that stands and can be taken back."""
        mine = (entry for entry in reversed(self.standing) if entry.author == author and entry.verb != "share")
        return next(mine, None)

    def open_to(self, author: str, rows: Sequence[str]) -> tuple[list[str], list[str]]:
        """Rows that the author is still to see: the shared ones, and the others (that nobody has labelled or settled)."""
        unseen = [row for row in rows if author not in self.by_row.get(row, {}) and row not in self.settled]
        return [row for row in unseen if row in self.shared], [
            row for row in unseen if row not in self.shared and not self.labels(row)
        ]  # fmt: skip

    def seconds_a_label(self, author: str) -> float:
        """The median time between two labels of an author, breaks left out (0: not known yet)."""
        times = [entry.at for entry in self.entries if entry.author == author and entry.verb in (*LABELS, "skip")]
        gaps = [after - before for before, after in itertools.pairwise(times[-101:]) if 0 < after - before <= BREAK_S]
        return statistics.median(gaps) if gaps else 0.0

    def accepted_share(self, author: str = "") -> float | None:
        """The share of suggestions that were accepted, of those that were answered (``None``: none was)."""
        answered = [one for one in self.standing if one.verb in LABELS and one.suggested and author in ("", one.author)]
        return sum(one.verb == "accept" for one in answered) / len(answered) if answered else None
