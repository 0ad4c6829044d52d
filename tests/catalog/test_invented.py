"""Invented values: right by checksum, from ranges that belong to nobody, and unharmed by typing noise."""

from __future__ import annotations

import ipaddress
import re
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from luthier.catalog import invented, typing_noise
from luthier.catalog.grammar import Piece

seeds = st.integers(0, 2**32)


def _luhn(number: str) -> bool:
    digits = [int(c) for c in number if c.isdigit()]
    return sum(sum(divmod(d * 2, 10)) if place % 2 else d for place, d in enumerate(reversed(digits))) % 10 == 0


def test_luhn_digit_of_the_standard_example() -> None:
    assert invented.luhn_digit("7992739871") == "3"


@given(seeds)
def test_cards_are_valid(seed: int) -> None:
    number = invented.card_number(Random(seed))
    assert _luhn(number)
    assert len(re.sub(r"\D", "", number)) == 16


@given(seeds)
def test_ibans_are_valid(seed: int) -> None:
    number = invented.iban(Random(seed)).replace(" ", "")
    assert int("".join(str(int(c, 36)) for c in number[4:] + number[:4])) % 97 == 1
    assert len(number) == {"DE": 22, "NL": 18}[number[:2]]


@given(seeds)
def test_nothing_belongs_to_anybody(seed: int) -> None:
    persona = invented.Persona(Random(seed))
    assert re.search(r"@(example\.(com|org|net)|(mail|post)\.example)$", persona.email)
    assert re.match(r"(07700 900|\+44 7700 900|\+1 202 555 01|\(303\) 555-01)", persona.phone)
    reserved = [ipaddress.ip_network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]
    address = ipaddress.ip_address(persona.piece("ip").text)
    assert any(address in net for net in reserved)


def test_a_person_stays_the_same_in_a_conversation() -> None:
    persona = invented.Persona(Random(3))
    first = persona.piece("email").text
    persona.used.clear()
    assert persona.piece("email").text == first == persona.email


@given(st.text(alphabet="abcdefghij klmnop", min_size=1, max_size=40), seeds)
def test_typos_change_a_word_by_one_key(text: str, seed: int) -> None:
    for word in text.split():
        wrong = typing_noise.mistype(word, Random(seed))
        assert abs(len(wrong) - len(word)) <= 1
        assert len(word) >= 4 or wrong == word
        assert wrong[0] == word[0]


@given(seeds)
def test_numbers_and_addresses_are_never_mistyped(seed: int) -> None:
    pieces = [Piece("please send it to "), Piece("anna.becker@example.com", "email"), Piece(" or "), Piece("ORD-123456", "order_number")]
    noisy = typing_noise.with_typos(pieces, 1.0, Random(seed))
    assert [p for p in noisy if p.kind] == [p for p in pieces if p.kind]


def test_casing() -> None:
    pieces = [Piece("where is it? i wrote to "), Piece("anna@example.com", "email"), Piece(". do i wait")]
    assert "".join(p.text for p in typing_noise.cased(pieces, "sentence")) == "Where is it? I wrote to anna@example.com. Do I wait"
    assert "".join(p.text for p in typing_noise.cased(pieces, "upper")) == "WHERE IS IT? I WROTE TO ANNA@EXAMPLE.COM. DO I WAIT"
