"""Made contract clauses with what they say in plain English: what a summarizer of legal documents is shown and tested with.

A summary holds the clause's own sums, dates and parties, and is true of it, so that invented numbers and lost negations can be counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Any

from luthier.catalog.grammar import Piece, expand, load, pick

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
DAYS = (3, 5, 7, 10, 14, 15, 20, 21, 28, 30, 45, 60, 90)
TERMS = (6, 9, 12, 18, 24, 36, 48, 60)


@cache
def _phrases() -> dict[str, Any]:
    return load("plain_contracts")


def kinds() -> list[str]:
    """The kinds of clause, sorted."""
    return sorted(_phrases()["kinds"])


def rows(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """``count`` clauses, no two alike; the first ones are the same however many are asked for.

    A row: ``text`` (one clause, or two of different kinds), ``summary``, ``kind`` (of the first), ``contract``.
    """
    random, seen, made = Random(f"{seed}-contracts"), set[str](), 0
    while made < count:
        kind = pick(random, kinds())
        values = _values(random)
        clause, summary = _pair(kind, values, random)
        if random.random() < 0.25:
            second, said = _pair(pick(random, [one for one in kinds() if one != kind]), values, random)
            clause, summary = f"{clause} {second}", f"{summary} {said}"
        if clause not in seen:
            seen.add(clause)
            made += 1
            yield {"text": clause, "summary": summary, "kind": kind, "contract": f"k{made:05d}"}


def _pair(kind: str, values: dict[str, str], random: Random) -> tuple[str, str]:
    forms = _phrases()["kinds"][kind]
    return _said(pick(random, forms["legal"]), values, random), _said(pick(random, forms["plain"]), values, random)


def _said(phrase: str, values: dict[str, str], random: Random) -> str:
    return "".join(piece.text for piece in expand(phrase, random, {}, lambda name: Piece(values[name], name)))


def _values(random: Random) -> dict[str, str]:
    one, other = pick(random, _phrases()["parties"])
    amount = int(10 ** (2 + 3.5 * random.random())) // 50 * 50 + 50
    found = {
        "one": one,
        "other": other,
        "amount": f"${amount:,}",
        "days": str(pick(random, DAYS)),
        "months": str(pick(random, TERMS)),
        "percent": str(pick(random, (1, 2, 3, 4, 5, 6, 8, 10))),
        "date": f"{1 + int(random.random() * 28)} {pick(random, MONTHS)} {2026 + int(random.random() * 5)}",
        "place": pick(random, _phrases()["places"]),
        "goods": pick(random, _phrases()["goods"]),
    }
    return found | {"One": one[0].upper() + one[1:], "Other": other[0].upper() + other[1:]}
