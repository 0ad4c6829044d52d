"""Tags of words and the spans that they mean: BIO (Ramshaw and Marcus 1995, as IOB2) and BILOU (Ratinov and Roth 2009).

BIO: ``B-x`` begins a span of kind x, ``I-x`` goes on with it, ``O`` is outside. BILOU also names the last word (``L-x``) and a span of one
word (``U-x``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

Scheme: TypeAlias = Literal["BIO", "BILOU"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
OUTSIDE = "O"
STARTS, ENDS = ("start", "start_offset", "begin"), ("end", "end_offset", "stop")
"""What people call the places of a span, in characters; the end is exclusive."""


class Run(NamedTuple):
    """Words ``first`` to ``last`` (the last one included) are a span of a kind."""

    first: int
    last: int
    kind: str


def tag_names(kinds: Sequence[str], scheme: Scheme) -> list[str]:
    """Every tag, ``O`` first."""
    return [OUTSIDE, *(f"{letter}-{kind}" for kind in kinds for letter in ("BI" if scheme == "BIO" else "BILU"))]


def tags_of(runs: Sequence[Run], words: int, scheme: Scheme) -> list[str]:
    """The tag of each of ``words`` words; runs must not overlap."""
    tags = [OUTSIDE] * words
    for first, last, kind in runs:
        tags[first : last + 1] = [f"I-{kind}"] * (last - first + 1)
        tags[first] = f"B-{kind}"
        if scheme == "BILOU":
            tags[last] = f"U-{kind}" if first == last else f"L-{kind}"
    return tags


def may_follow(left: str, right: str) -> bool:
    """Whether a word tagged ``right`` may come after one tagged ``left`` ("" stands for the text's begin or end)."""
    opened = left[2:] if left[:2] in ("B-", "I-") else ""
    inside = right[2:] if right[:2] in ("I-", "L-") else ""
    return inside == opened if inside else True


def must_go_on(left: str, scheme: Scheme) -> bool:
    """Whether the span that ``left`` is in cannot end with it: BILOU says by the tag itself where a span ends."""
    return scheme == "BILOU" and left[:2] in ("B-", "I-")


def runs_of(tags: Sequence[str]) -> list[Run]:
    """The spans that tags mean, of either scheme; an ``I-x`` that continues nothing begins a span, as CoNLL's own script has it."""
    found: list[Run] = []
    kind, first = "", 0
    for place, tag in enumerate([*tags, OUTSIDE]):
        letter, _, name = tag.partition("-")
        if kind and (letter in ("O", "B", "U") or name != kind):
            found.append(Run(first, place - 1, kind))
            kind = ""
        if letter in ("B", "I", "L", "U") and name:
            if not kind:
                kind, first = name, place
            if letter in ("L", "U"):
                found.append(Run(first, place, kind))
                kind = ""
    return found


def entities_of(runs: Sequence[Run], places: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """Runs of words as ``{"start", "end", "label"}`` in characters; ``places`` are the words' own."""
    return [{"start": int(places[first][0]), "end": int(places[last][1]), "label": kind} for first, last, kind in runs]


def runs_in(entities: Sequence[dict[str, Any]], places: Sequence[tuple[int, int]]) -> list[Run]:
    """The words that spans in characters touch; a span that touches none, or a word that a span before it has, is left out."""
    found: list[Run] = []
    for entity in sorted(entities, key=lambda one: (one["start"], one["end"])):
        touched = [number for number, (start, end) in enumerate(places) if start < entity["end"] and end > entity["start"]]
        touched = [number for number in touched if not found or number > found[-1].last]
        if touched:
            found.append(Run(touched[0], touched[-1], str(entity["label"])))
    return found
