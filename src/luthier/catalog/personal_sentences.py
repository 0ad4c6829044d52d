"""Made sentences with labelled personal data: what a finder of names, places, organisations and addresses can be trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from random import Random
from typing import Any

from luthier.catalog.grammar import Piece, expand, load, pick
from luthier.catalog.personal_values import VALUES

_LOWER, _UPPER, _TWO = 0.10, 0.03, 0.25
"""Shares of texts in small letters, in capitals, and of two sentences."""


@cache
def _phrases() -> dict[str, Any]:
    return load("personal_sentences")


def rows(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """``count`` texts; the first ones are the same however many are asked for.

    A row: ``id``, ``text``, ``entities`` (``label``, ``start``, ``end`` in characters, ``text``); the labels are
    ``personal_values.KINDS``.
    """
    random = Random(f"{seed}-personal-sentences")
    for number in range(1, count + 1):
        pieces = _sentence(random)
        if random.random() < _TWO:
            pieces = [*pieces, Piece(pick(random, (" ", " ", "\n"))), *_sentence(random)]
        text, entities = joined(as_written(pieces, random))
        yield {"id": f"p{number:06d}", "text": text, "entities": entities}


def value(kind: str, random: Random) -> Piece:
    """A value for ``{kind}``."""
    label, make = VALUES[kind]
    return Piece(make(random), label)


def _sentence(random: Random) -> list[Piece]:
    phrase = pick(random, _phrases()["sentences"])
    return expand(phrase, random, _phrases()["words"], lambda kind: value(kind, random))


def as_written(pieces: Sequence[Piece], random: Random) -> list[Piece]:
    """Some texts in small letters or in capitals, the others as they are."""
    dice = random.random()
    if dice >= _LOWER + _UPPER:
        return list(pieces)
    change = str.lower if dice < _LOWER else str.upper
    return [piece._replace(text=change(piece.text)) for piece in pieces]


def joined(pieces: Sequence[Piece]) -> tuple[str, list[dict[str, Any]]]:
    """The text without blanks at its ends, and where its entities stand in it."""
    text, entities = "", []
    for piece in pieces:
        words = piece.text if text else piece.text.lstrip()
        if piece.kind:
            entities.append({"label": piece.kind, "start": len(text), "end": len(text) + len(words), "text": words})
        text += words
    return text.rstrip(), entities
