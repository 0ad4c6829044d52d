"""Turns phrases such as ``[hi|hello] where is <order>?`` into pieces of text, each knowing whether it is an invented value.

Notation (see ``phrases/support_messages.yaml``): ``[a|b]`` chooses, ``<name>`` takes an entry of a named list, ``{kind}`` is a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeAlias, TypeVar

from luthier.core.errors import InputError

FOLDER = Path(__file__).parent / "phrases"
Choice = TypeVar("Choice")


class Piece(NamedTuple):
    """Some characters of a message. ``kind`` is "" for plain words, else the kind of entity that they are; ``intent``: what they ask."""

    text: str
    kind: str = ""
    intent: str = ""


class _Node(NamedTuple):
    sort: str
    value: Any


_Sequence: TypeAlias = tuple[_Node, ...]
Value: TypeAlias = Callable[[str], Piece]
"""Makes the piece for ``{kind}``."""


def pick(random: Random, choices: Sequence[Choice]) -> Choice:
    """One of them, evenly. Only ``random()`` is used: it gives the same numbers in every Python version."""
    return choices[int(random.random() * len(choices))]


def load(name: str) -> dict[str, Any]:
    """The phrases in ``phrases/{name}.yaml``."""
    import yaml

    data: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return data


@cache
def parse(phrase: str) -> _Sequence:
    """The phrase as a tree; raises ``InputError`` for a bracket that is never closed."""
    sequence, end = _sequence(phrase, 0, nested=False)
    if end != len(phrase):
        raise InputError(f"phrase {phrase!r}: unexpected {phrase[end]!r} at {end}", "close every [ with ]")
    return sequence


_CLOSE = {"<": (">", "word"), "{": ("}", "value")}


def _sequence(phrase: str, start: int, *, nested: bool) -> tuple[_Sequence, int]:
    nodes: list[_Node] = []
    here = start
    while here < len(phrase) and not (nested and phrase[here] in "|]"):
        mark = phrase[here]
        if mark == "[":
            options, here = _options(phrase, here + 1)
            nodes.append(_Node("choice", options))
        elif mark in _CLOSE:
            close, sort = _CLOSE[mark]
            end = phrase.find(close, here)
            if end < 0:
                raise InputError(f"phrase {phrase!r}: {mark} at {here} is never closed", f"add {close}")
            nodes.append(_Node(sort, phrase[here + 1 : end]))
            here = end + 1
        else:
            end = here
            while end < len(phrase) and phrase[end] not in "[<{" and not (nested and phrase[end] in "|]"):
                end += 1
            nodes.append(_Node("text", phrase[here:end]))
            here = end
    return tuple(nodes), here


def _options(phrase: str, start: int) -> tuple[tuple[_Sequence, ...], int]:
    options: list[_Sequence] = []
    here = start
    while True:
        option, here = _sequence(phrase, here, nested=True)
        options.append(option)
        if here >= len(phrase):
            raise InputError(f"phrase {phrase!r}: [ is never closed", "add ]")
        here += 1
        if phrase[here - 1] == "]":
            return tuple(options), here


def expand(phrase: str, random: Random, words: Mapping[str, Sequence[str]], value: Value) -> list[Piece]:
    """The phrase with every choice made."""
    pieces: list[Piece] = []
    _expand(parse(phrase), random, words, value, pieces)
    return pieces


def _expand(sequence: _Sequence, random: Random, words: Mapping[str, Sequence[str]], value: Value, pieces: list[Piece]) -> None:
    for sort, what in sequence:
        if sort == "text":
            pieces.append(Piece(what))
        elif sort == "value":
            pieces.append(value(what))
        elif sort == "choice":
            _expand(pick(random, what), random, words, value, pieces)
        else:
            _expand(parse(pick(random, words[what])), random, words, value, pieces)
