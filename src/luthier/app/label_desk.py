"""One labelling as it stands in memory: its messages, what holds, and what each author is asked next."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from luthier.app.computed import Answers, Vectors
from luthier.app.labelling_rows import LabellingInfo, LabellingRows, Marks, Message
from luthier.core.types import canonical_json
from luthier.labelling import choose, suggest
from luthier.labelling.log import State
from luthier.labelling.phrases import Phrases
from luthier.labelling.values import known_labels, marks

MOST_CANDIDATES = 20_000
"""Rows that are compared at a time; of more, so many are drawn."""

KEPT_S = 600.0
"""How long a row that one author was given is kept from the others."""

NEIGHBOURS = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """A row that an author is asked about. ``shared``: every author is, without a suggestion, so that nobody leads anybody."""

    row: str
    text: str
    columns: dict[str, Any] = field(default_factory=dict)
    shared: bool = False
    suggestion: dict[str, Any] | None = None
    """``{"value", "confidence", "by"}``: ``by`` is neighbours, linear, phrases or the model's name."""
    nearest: list[dict[str, Any]] = field(default_factory=list)
    """Labelled rows that are nearest: ``{"row", "text", "value", "cosine"}``."""

    def as_json(self) -> dict[str, Any]:
        """As every door shows it."""
        return {"id": self.row, "object": "labelling.row", **{key: value for key, value in asdict(self).items() if key != "row"}}


class Desk:
    """See the module; from any thread."""

    def __init__(self, rows: LabellingRows, info: LabellingInfo, vectors: Vectors, answers: Answers | None) -> None:
        self.rows, self.info, self.vectors, self.answers = rows, info, vectors, answers
        self.messages: dict[str, Message] = {}
        self.state = State([])
        self._marks = Marks(-1, 0)
        self._lock = threading.Lock()
        self._queues: dict[str, list[Asked]] = {}
        self._given: dict[str, tuple[str, float]] = {}

    def look(self) -> None:
        """Reads what came since."""
        found = self.rows.marks(self.info.name)
        if found != self._marks:
            if found.messages != self._marks.messages:
                self.messages = {message.id: message for message in self.rows.messages(self.info.name)}
            self.state, self._marks = State(self.rows.entries(self.info.name)), found

    @property
    def labels(self) -> list[str]:
        """Every label, declared or used."""
        used = (entry.value for entry in self.state.standing if entry.verb in ("accept", "correct", "settle"))
        return known_labels(self.info.kind, self.info.labels, used)

    @property
    def learned_from(self) -> dict[str, Any]:
        """Row -> label, where one is agreed upon and the row has its vector."""
        return {row: value for row, value in self.state.agreed.items() if row in self.messages and row in self.vectors.values}

    def next(self, author: str, count: int) -> list[Asked]:
        """What the author is asked next: shared rows first, then the most useful ones."""
        with self._lock:
            self.look()
            self.vectors.get(list(self.messages.values()))
            if self.answers is not None:
                self.answers.get(list(self.messages.values()))
            shared, free = self.state.open_to(author, list(self.messages))
            found = [Asked(row, self.messages[row].text, self.messages[row].columns, shared=True) for row in shared[:count]]
            if len(found) < count:
                found += self._from_queue(author, free, count - len(found))
            now = time.monotonic()
            self._given.update({asked.row: (author, now) for asked in found if not asked.shared})
            return found

    def suggested(self, author: str, row: str) -> dict[str, Any]:
        """What the author was shown for a row ({} for nothing, as of rows that everybody labels)."""
        if row in self.state.shared:
            return {}
        return next((asked.suggestion or {} for asked in self._queues.get(author, ()) if asked.row == row), {})

    def _from_queue(self, author: str, free: Sequence[str], count: int) -> list[Asked]:
        now = time.monotonic()
        self._given = {row: (who, at) for row, (who, at) in self._given.items() if now - at < KEPT_S}
        taken = {row for row, (who, _) in self._given.items() if who != author}
        left = [row for row in free if row not in taken] or list(free)
        open_rows = set(left)
        queue = [asked for asked in self._queues.get(author, ()) if asked.row in open_rows]
        if len(queue) < count:
            # Few labels teach much: the first rows are chosen one by one, then two, four ... at a time.
            queue = self._choose(left, max(count, min(choose.BATCH, len(self.state.agreed))))
            # What was shown stays known, for who answers late.
            self._queues[author] = [*queue, *self._queues.get(author, ())][: 20 * choose.BATCH]
        return queue[:count]

    def _choose(self, rows: Sequence[str], count: int) -> list[Asked]:
        vectors = self.vectors.values
        known = [row for row in rows if row in vectors]
        if not known:  # while vectors are being made, or cannot be: the order of the file
            return [Asked(row, self.messages[row].text, self.messages[row].columns) for row in rows[:count]]
        if len(known) > MOST_CANDIDATES:
            drawn = np.random.default_rng(len(self.state.entries)).choice(len(known), MOST_CANDIDATES, replace=False)
            known = [known[number] for number in sorted(drawn)]
        learned = self.learned_from
        seen = np.stack([vectors[row] for row in learned]) if learned else np.empty((0, 1), dtype=np.float32)
        matrix = np.stack([vectors[row] for row in known])
        suggestions, unsure = self._suggestions(known, matrix, learned, seen)
        if len(learned) < choose.first(len(self.labels)):
            unsure = None
        chosen = choose.next_rows(matrix, unsure, seen, count, seed=len(self.state.entries))
        near = suggest.nearest(matrix[chosen], seen, NEIGHBOURS)
        return [
            self._asked(known[number], suggestions[number], one, list(learned.items()))
            for number, one in zip(chosen.tolist(), near, strict=True)
        ]

    def _asked(self, row: str, suggestion: dict[str, Any] | None, near: suggest.Nearest, learned: Sequence[tuple[str, Any]]) -> Asked:
        nearest = []
        for number, cosine in zip(near.rows, near.cosines, strict=True):
            other, value = learned[number]
            nearest.append({"row": other, "text": self.messages[other].text, "value": value, "cosine": round(cosine, 4)})
        return Asked(row, self.messages[row].text, self.messages[row].columns, suggestion=suggestion, nearest=nearest)

    def _suggestions(
        self, rows: Sequence[str], matrix: Any, learned: dict[str, Any], seen: Any
    ) -> tuple[list[dict[str, Any] | None], Any]:  # fmt: skip
        """A suggestion for each row, and how unsure each is (``None`` while nothing is known)."""
        if self.answers is not None and self.answers.values:
            said = [self.answers.values.get(row) for row in rows]
            by_model = [one and {"value": one["value"], "confidence": one["confidence"], "by": self.info.model} for one in said]
            return by_model, np.array([one["unsure"] if one else 0.5 for one in said])
        if not learned:
            return [None] * len(rows), None
        if self.info.kind == "spans":
            phrases = Phrases([self.messages[row].text for row in learned], list(learned.values()))
            found = [phrases.suggest(self.messages[row].text) for row in rows]
            spans = [{"value": one.spans, "confidence": round(one.confidence, 6), "by": "phrases"} for one in found]
            return list(spans), 1.0 - np.array([one.confidence for one in found])
        return self._by_labels(matrix, learned, seen)

    def _by_labels(self, matrix: Any, learned: dict[str, Any], seen: Any) -> tuple[list[dict[str, Any] | None], Any]:
        names, several = self.labels, self.info.kind == "labels"
        model = suggest.learned(seen, marks(self.info.kind, list(learned.values()), names), several=several)
        assert model is not None
        chances = model.chances(matrix)
        unsure = choose.least_decided(chances) if several else choose.margin(chances)
        made: list[dict[str, Any] | None] = []
        for row in chances:
            value: Any = [name for name, chance in zip(names, row, strict=True) if chance >= 0.5] if several else names[int(row.argmax())]
            confidence = float(np.maximum(row, 1.0 - row).min()) if several else float(row.max())
            made.append({"value": value, "confidence": round(confidence, 6), "by": model.name})
        return made, unsure


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same label."""
    return canonical_json(one) == canonical_json(other)
