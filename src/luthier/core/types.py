"""What travels between the rooms: examples, predictions, scores, artifacts, and where they came from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

Json: TypeAlias = Any
"""A value that ``json.dumps`` takes."""

Arrays: TypeAlias = dict[str, Any]
"""Named numpy arrays; the first axis is the example (a batch) or absent (one item)."""

Item: TypeAlias = dict[str, Any]
"""One encoded example: named numpy arrays of its own lengths, without padding."""

Schema: TypeAlias = dict[str, Any]
"""What a task learned from the data before training (labels, limits ...), as JSON; saved beside every model."""

Calibration: TypeAlias = dict[str, Any]
"""What evaluate learned about a model's confidence (temperature, thresholds ...), as JSON; ``{}`` means none."""

Split: TypeAlias = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class Place(NamedTuple):
    """Where a value stands: ``reviews.csv:18``. ``line`` counts from 1 (0: the whole file)."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Column(NamedTuple):
    """A column that a task reads. ``aliases`` are other names it is found by without ``--map``."""

    name: str
    description: str
    required: bool = True
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """One example of a task.

    ``inputs`` is what the model sees (``{"text": ...}``), ``target`` what it should answer (``None`` when unknown).
    ``group`` keeps examples on one side of every split ("" = none), ``source`` is ``file:line``, ``columns`` are the row's other columns.
    """

    id: str
    inputs: dict[str, Any]
    target: Any = None
    group: str = ""
    source: str = ""
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer. ``confidence`` is the calibrated probability of ``output``; ``scores`` holds every class's.

    ``details``: what else the answer says (where each part of it stands, how sure that part is); it is not compared with the target.
    """

    id: str
    output: Any
    confidence: float
    scores: dict[str, float] = field(default_factory=dict)
    abstained: bool = False
    out_of_scope: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was not used, and what to do about it."""

    file: str
    line: int
    field: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Score:
    """One measured number. ``low``/``high``: 95 % bootstrap interval where there is one. ``parts``: per class or per slice."""

    name: str
    value: float
    higher_is_better: bool = True
    low: float | None = None
    high: float | None = None
    parts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A folder that was written once. ``id`` is ``{kind}-{16 hex of its content hash}``."""

    id: str
    kind: str
    path: str
    parents: tuple[str, ...] = ()
    name: str = ""
    created_at: float = 0.0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a person should look at. ``level``: ``error`` stops the stage, ``warning`` does not."""

    level: Literal["error", "warning", "info"]
    code: str
    message: str
    remedy: str = ""
    data: dict[str, Any] = field(default_factory=dict)


def names_in(value: Any) -> list[str]:
    """The names that a target or an output counts for.

    It is a label, a list of labels, or a record: with ``labels`` (what the text is about) those, else the kinds of its ``entities``.
    """
    if isinstance(value, dict):
        if "labels" in value:
            return [str(name) for name in value["labels"]]
        return sorted({str(entity["label"]) for entity in value.get("entities", ())})
    return [str(name) for name in value] if isinstance(value, list) else [] if value is None else [str(value)]


# Made once: json.dumps makes a new encoder for every call with settings, which costs as much as the encoding of a short text.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical_json(value: Json) -> str:
    """One text for one value: sorted keys, no spaces, UTF-8 kept."""
    return _CANONICAL.encode(value)


def content_id(value: Json) -> str:
    """16 hex digits (64 bits of BLAKE2b) of the value's canonical JSON: the same content has the same id anywhere.

    Half an emoji, which JSON can escape and UTF-8 cannot hold, has an id too: whether it may be used is for others to say.
    """
    return hashlib.blake2b(canonical_json(value).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
