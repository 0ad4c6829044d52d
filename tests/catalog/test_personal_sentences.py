"""The made sentences with personal data: the same everywhere, spans where they say, every kind, rarely the same twice."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from random import Random

from luthier.catalog import made, personal_sentences
from luthier.catalog.grammar import Piece
from luthier.catalog.personal_values import KINDS, VALUES
from luthier.core import personal_data
from luthier.core.types import canonical_json

ROWS = list(made.make("personal-sentences", 3000, 7))


def test_same_seed_same_rows_on_any_machine() -> None:
    """The digest was taken when the phrases were last changed; whoever changes them takes it again (and says so in the changelog)."""
    assert hashlib.sha256("\n".join(map(canonical_json, ROWS)).encode()).hexdigest()[:16] == "17d2236f52c0fb55"
    assert list(made.make("personal-sentences", 50, 7)) == ROWS[:50]
    assert list(made.make("personal-sentences", 50, 8)) != ROWS[:50]


def test_spans_stand_where_they_say() -> None:
    for row in ROWS:
        for one in row["entities"]:
            assert row["text"][one["start"] : one["end"]] == one["text"] == one["text"].strip() != ""


def test_every_kind_is_there_and_so_are_texts_without_any() -> None:
    kinds = Counter(one["label"] for row in ROWS for one in row["entities"])
    assert set(kinds) == set(KINDS) == {label for label, _ in VALUES.values()}
    assert min(kinds.values()) >= 15
    assert min(kinds[kind] for kind in ("NAME", "PLACE", "ORGANISATION", "ADDRESS")) >= 800
    assert sum(not row["entities"] for row in ROWS) > 100


def test_texts_and_values_are_rarely_the_same() -> None:
    assert len({row["text"] for row in ROWS}) > 0.98 * len(ROWS)
    for kind in ("NAME", "PLACE", "ORGANISATION"):
        values = [one["text"] for row in ROWS for one in row["entities"] if one["label"] == kind]
        assert len(set(values)) > 0.5 * len(values)


def test_no_phrase_is_left_unexpanded() -> None:
    for row in ROWS:
        assert not re.search(r"[\[\]<{}_|](?!\s)|\b(?:None|True|False)\b", re.sub(r"\S+@\S+", "", row["text"])), row["text"]


def test_numbers_are_those_that_patterns_find() -> None:
    random = Random(3)
    for kind in ("email", "card", "iban", "ip", "url", "phone"):
        label, make = VALUES[kind]
        for _ in range(50):
            text = make(random)
            assert (5, 5 + len(text), label) in personal_data.find(f"call {text}, please", [label]), text


def test_blanks_at_the_ends_move_the_spans() -> None:
    text, entities = personal_sentences.joined([Piece("\n"), Piece("Ann Lee", "NAME"), Piece(" of "), Piece("Oslo", "PLACE"), Piece(" ")])
    assert text == "Ann Lee of Oslo"
    assert [(one["start"], one["end"]) for one in entities] == [(0, 7), (11, 15)]
