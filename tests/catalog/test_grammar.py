"""The notation of phrases."""

from __future__ import annotations

from random import Random

import pytest

from luthier.catalog import grammar
from luthier.catalog.grammar import Piece
from luthier.core.errors import InputError


def _all(phrase: str, words: dict[str, list[str]] | None = None) -> set[str]:
    random = Random(1)
    return {"".join(p.text for p in grammar.expand(phrase, random, words or {}, lambda kind: Piece(f"({kind})", kind))) for _ in range(300)}


def test_choices_nest_and_may_be_empty() -> None:
    assert _all("a[ b| [c|d]|]") == {"a b", "a c", "a d", "a"}


def test_words_and_values() -> None:
    assert _all("<who> has {city}", {"who": ["he", "[she|it]"]}) == {"he has (city)", "she has (city)", "it has (city)"}


def test_values_keep_their_kind() -> None:
    pieces = grammar.expand("from {city}!", Random(1), {}, lambda kind: Piece("Graz", kind))
    assert pieces == [Piece("from "), Piece("Graz", "city"), Piece("!")]


@pytest.mark.parametrize("phrase", ["[a|b", "<word", "{kind", "a [b|[c] d"])
def test_open_brackets_are_refused(phrase: str) -> None:
    with pytest.raises(InputError, match="never closed"):
        grammar.parse(phrase)


def test_every_shipped_phrase_parses() -> None:
    phrases = grammar.load("support_messages")
    known = set(phrases["words"])

    def check(text: str) -> None:
        for sort, what in _leaves(grammar.parse(text)):
            assert sort != "word" or what in known, (text, what)

    for entries in (*phrases["words"].values(), phrases["contexts"], phrases["contact"], phrases["joins"]):
        for entry in entries:
            check(entry)
    for intent in phrases["intents"].values():
        assert len(intent["core"]) >= 15
        for entry in intent["core"]:
            check(entry)
    for entry in grammar.load("out_of_scope")["core"]:
        check(entry)


def _leaves(sequence: grammar._Sequence) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for sort, what in sequence:
        found += [leaf for option in what for leaf in _leaves(option)] if sort == "choice" else [(sort, what)]
    return found
