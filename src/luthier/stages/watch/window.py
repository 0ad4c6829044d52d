"""Reads one endpoint's events of a time window from the journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from luthier.stages.serve.reservoir import label_of

NAMES = ("prediction.answered", "prediction.failed", "feedback.given", "prediction.mirrored")


class Reads(Protocol):
    """What gives events: the journal. Entries have ``at``, ``name`` and ``body``."""

    def all(self, after: int = 0, *, about: str = "", names: Any = (), since: float = 0.0) -> Iterator[Any]:
        """Every matching entry, oldest first."""


@dataclass
class Window:
    """What happened at an endpoint from ``start`` to ``end`` (seconds since 1970). Lists have one value an answer, in order of time."""

    endpoint: str
    start: float
    end: float
    latency_ms: list[float] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    out_of_scope: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    answered_by: list[str] = field(default_factory=list)
    """The export that gave the answer."""
    abstained: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    thumbs: Counter[str] = field(default_factory=Counter)
    exports: Counter[str] = field(default_factory=Counter)
    answered: dict[str, str] = field(default_factory=dict)
    """Answer's id -> its label, to compare corrections with."""
    corrected: dict[str, str] = field(default_factory=dict)
    """Answer's id -> the label that a person says is right."""
    praised: set[str] = field(default_factory=set)
    blamed: set[str] = field(default_factory=set)

    mirrored: dict[str, Counter[str]] = field(default_factory=dict)
    """Version -> how many copies it answered the same, otherwise, or not at all (``same``, ``other``, ``failed``)."""

    def __len__(self) -> int:
        return len(self.labels)


def read_window(journal: Reads, endpoint: str, start: float, end: float) -> Window:
    """The events of ``endpoint`` in ``[start, end]``, read as a stream."""
    window = Window(endpoint, start, end)
    for entry in journal.all(about=endpoint, names=NAMES, since=start):
        if entry.at > end:
            continue
        if entry.name == "prediction.answered":
            _answer(window, entry.body)
        elif entry.name == "prediction.failed":
            window.errors[entry.body["code"]] += 1
        elif entry.name == "prediction.mirrored":
            said = "failed" if entry.body["code"] else "same" if entry.body["same"] else "other"
            window.mirrored.setdefault(entry.body["version"], Counter())[said] += 1
        else:
            _judgement(window, entry.body)
    return window


def _answer(window: Window, body: dict[str, Any]) -> None:
    label = label_of(body["output"])
    window.latency_ms.append(body["latency_ms"])
    window.confidence.append(body["confidence"])
    window.out_of_scope.append(body["out_of_scope"])
    window.tokens.append(body["tokens"])
    window.labels.append(label)
    window.answered_by.append(body["export"])
    window.abstained += body["abstained"]
    window.exports[body["export"]] += 1
    window.answered[body["id"]] = label


def _judgement(window: Window, body: dict[str, Any]) -> None:
    if body["thumbs"]:
        window.thumbs[body["thumbs"]] += 1
        (window.praised if body["thumbs"] == "up" else window.blamed).add(body["id"])
    if body["right"] is not None:
        window.corrected[body["id"]] = label_of(body["right"])
