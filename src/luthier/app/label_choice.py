"""Which rows of a labelling are asked next, and what is suggested for them: from what stood at one moment, so that it may take its time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from luthier.app.labelling_rows import LabellingInfo, Message
from luthier.labelling import choose, suggest
from luthier.labelling.log import State
from luthier.labelling.phrases import Phrases
from luthier.labelling.values import known_labels, marks

MOST_CANDIDATES = 20_000
"""Rows that are compared at a time; of more, so many are drawn."""

MOST_LEARNED = 20_000
"""Labelled rows that suggestions are learned from; of more, the newest and so many of the others by chance."""

NEWEST = 1000
NEIGHBOURS = 3

Suggest = Callable[[int], dict[str, Any] | None]
"""The suggestion for a candidate, by its number."""


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


@dataclass(frozen=True)
class Standing:
    """A labelling at one moment; nothing in it changes afterwards. ``answers``: a trained model's, where one suggests."""

    info: LabellingInfo
    messages: Mapping[str, Message]
    state: State
    vectors: Mapping[str, Any]
    answers: Mapping[str, Any] | None

    @cached_property
    def labels(self) -> list[str]:
        """Every label, declared or used."""
        used = (entry.value for entry in self.state.standing if entry.verb in ("accept", "correct", "settle"))
        return known_labels(self.info.kind, self.info.labels, used)

    @cached_property
    def learned(self) -> dict[str, Any]:
        """Row -> label, where one is agreed upon and the row has its vector: at most ``MOST_LEARNED``."""
        rows = [row for row in self.state.agreed if row in self.messages and row in self.vectors]
        if len(rows) > MOST_LEARNED:
            old = np.random.default_rng(0).choice(len(rows) - NEWEST, MOST_LEARNED - NEWEST, replace=False)
            rows = [rows[number] for number in sorted(old)] + rows[-NEWEST:]
        return {row: self.state.agreed[row] for row in rows}

    def asked(self, row: str, **more: Any) -> Asked:
        """The question about a row."""
        return Asked(row, self.messages[row].text, self.messages[row].columns, **more)

    def choose(self, rows: Sequence[str], count: int) -> list[Asked]:
        """Of these rows the ``count`` most useful ones, the first one first, with suggestions."""
        known = [row for row in rows if row in self.vectors]
        if not known:  # while vectors are being made, or cannot be: the order of the file
            return [self.asked(row) for row in rows[:count]]
        seed = len(self.state.entries)
        if len(known) > MOST_CANDIDATES:
            drawn = np.random.default_rng(seed).choice(len(known), MOST_CANDIDATES, replace=False)
            known = [known[number] for number in sorted(drawn)]
        learned = list(self.learned)
        seen = np.stack([self.vectors[row] for row in learned]) if learned else np.empty((0, 1), dtype=np.float32)
        matrix = np.stack([self.vectors[row] for row in known])
        suggestion, unsure = self._suggestions(known, matrix, seen)
        if len(learned) < choose.first(len(self.labels)):
            unsure = None
        chosen = choose.next_rows(matrix, unsure, seen, count, seed=seed)
        near = suggest.nearest(matrix[chosen], seen, NEIGHBOURS)
        return [
            self.asked(known[number], suggestion=suggestion(number), nearest=self._shown(one, learned))
            for number, one in zip(chosen.tolist(), near, strict=True)
        ]

    def _shown(self, near: suggest.Nearest, learned: Sequence[str]) -> list[dict[str, Any]]:
        found = []
        for number, cosine in zip(near.rows, near.cosines, strict=True):
            row = learned[number]
            found.append({"row": row, "text": self.messages[row].text, "value": self.learned[row], "cosine": round(cosine, 4)})
        return found

    def _suggestions(self, rows: Sequence[str], matrix: Any, seen: Any) -> tuple[Suggest, Any]:
        """What is suggested for each row, and how unsure each is (``None`` while nothing is known)."""
        if self.answers:
            said = [self.answers.get(row) for row in rows]
            unsure = np.array([one["unsure"] if one else 0.5 for one in said])
            return lambda number: self._by_model(said[number]), unsure
        if not self.learned:
            return lambda number: None, None
        if self.info.kind == "spans":
            phrases = Phrases([self.messages[row].text for row in self.learned], list(self.learned.values()))
            found = [phrases.suggest(self.messages[row].text) for row in rows]
            made = [{"value": one.spans, "confidence": round(one.confidence, 6), "by": "phrases"} for one in found]
            return made.__getitem__, 1.0 - np.array([one.confidence for one in found])
        return self._by_labels(matrix, seen)

    def _by_model(self, said: Mapping[str, Any] | None) -> dict[str, Any] | None:
        return {"value": said["value"], "confidence": said["confidence"], "by": self.info.model} if said else None

    def _by_labels(self, matrix: Any, seen: Any) -> tuple[Suggest, Any]:
        names, several = self.labels, self.info.kind == "labels"
        model = suggest.learned(seen, marks(self.info.kind, list(self.learned.values()), names), several=several)
        assert model is not None
        chances = model.chances(matrix)

        def suggestion(number: int) -> dict[str, Any]:
            row = chances[number]
            value: Any = [name for name, chance in zip(names, row, strict=True) if chance >= 0.5] if several else names[int(row.argmax())]
            confidence = float(np.maximum(row, 1.0 - row).min()) if several else float(row.max())
            return {"value": value, "confidence": round(confidence, 6), "by": model.name}

        return suggestion, choose.least_decided(chances) if several else choose.margin(chances)
