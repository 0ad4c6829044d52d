"""Invented people, places, companies and addresses of many origins, put together by chance from parts, rarely the same twice."""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import Any

from luthier.catalog.grammar import load, pick
from luthier.catalog.invented import card_number, iban

KINDS = ("NAME", "PLACE", "ORGANISATION", "ADDRESS", "EMAIL", "PHONE", "CARD", "IBAN", "IP", "SSN", "URL",
         "TITLE", "AGE", "NRP", "DATE_TIME", "ZIP_CODE")  # fmt: skip
"""What the values are; the last five are no kinds that prepare masks, but words that a finder must tell from those."""


@cache
def _parts() -> dict[str, Sequence[Any]]:
    """Lists of the file; one that is a text holds words with ``_`` for a blank."""
    return {
        name: [word.replace("_", " ") for word in found.split()] if isinstance(found, str) else found
        for name, found in load("personal_values").items()
    }


def _of(random: Random, name: str) -> str:
    return str(pick(random, _parts()[name]))


def _digits(random: Random, least: int, most: int) -> str:
    return "".join(pick(random, string.digits) for _ in range(least + int(random.random() * (most - least + 1))))


def first_name(random: Random) -> str:
    """One given name."""
    return _of(random, "first_names")


def last_name(random: Random) -> str:
    """A family name: of a list, or a stem with the ending of some language."""
    if random.random() < 0.35:
        return _of(random, "last_starts") + _of(random, "last_ends")
    return _of(random, "last_names")


def person(random: Random) -> str:
    """A name in one of the ways that people write it."""
    first, last, dice = first_name(random), last_name(random), random.random()
    if dice < 0.50:
        return f"{first} {last}"
    if dice < 0.68:
        return first
    if dice < 0.78:
        return last
    initial = pick(random, string.ascii_uppercase)
    ways = (
        f"{first} {initial}. {last}",
        f"{first} {initial} {last}",
        f"{first} {last}-{last_name(random)}",
        f"{initial}. {last}",
        f"{first} {first_name(random)} {last}",
        f"{first} {last} {pick(random, ('Jr', 'Jr.', 'II', 'III', 'PhD', 'MD'))}",
        f"{last}, {first}",
    )
    return pick(random, ways)


def full_name(random: Random) -> str:
    """Given and family name."""
    return f"{first_name(random)} {last_name(random)}"


def _town(random: Random) -> str:
    return _of(random, "place_starts") + _of(random, "place_ends")


def city(random: Random) -> str:
    """A town: a known one, or one that is put together; sometimes in capitals, as in post addresses."""
    dice = random.random()
    if dice < 0.45:
        name = _of(random, "cities")
    else:
        name = _town(random)
        if dice > 0.80:
            name = f"{_of(random, 'place_befores')} {name}" if dice > 0.90 else f"{name} {_of(random, 'place_afters')}"
    return name.upper() if random.random() < 0.2 else name


def country(random: Random) -> str:
    """A country or a large region."""
    return _of(random, "countries")


def place(random: Random) -> str:
    """A town or a country."""
    return city(random) if random.random() < 0.65 else country(random)


def company(random: Random) -> str:
    """The name of a firm or institution in one of the forms that they have."""
    dice, form = random.random(), _of(random, "company_forms")
    if dice < 0.22:
        return _blend(random)
    if dice < 0.30:
        return _of(random, "company_words")
    return _of_people(random, form) if dice < 0.65 else _of_words(random, form)


def _blend(random: Random) -> str:
    return _of(random, "company_starts") + _of(random, "company_ends")


def _of_people(random: Random, form: str) -> str:
    last = last_name(random)
    return pick(
        random,
        (
            f"{last} {form}",
            f"{last}, {last_name(random)} and {last_name(random)}",
            f"{last}-{last_name(random)}",
            f"{last} & {last_name(random)}",
            f"{first_name(random)} {last} {form}",
        ),
    )


def _of_words(random: Random, form: str) -> str:
    word = _of(random, "company_words")
    return pick(
        random,
        (
            f"{_blend(random)} {form}",
            f"{word} {form}",
            f"{word} {_of(random, 'company_words')}",
            f"{word} {_of(random, 'company_words')} {form}",
            f"{city(random).title()} {form}",
            f"{word} {_of(random, 'company_things')}",
            f"{_of(random, 'nationalities')} {word} {_of(random, 'company_things')}",
            f"{_of(random, 'company_things')} {form}",
            "".join(pick(random, string.ascii_uppercase) for _ in range(3)),
        ),
    )


def street(random: Random) -> str:
    """A street's name, without number."""
    dice = random.random()
    if dice < 0.45:
        makers: tuple[Callable[[Random], str], ...] = (last_name, first_name, _town, lambda r: _of(r, "company_words"))
        return f"{pick(random, makers)(random)} {_of(random, 'street_words')}"
    if dice < 0.75:
        return pick(random, (_of(random, "place_starts"), _of(random, "last_starts"))) + _of(random, "street_ends")
    if dice < 0.85:
        return f"{last_name(random)} {pick(random, ('u.', 'utca', 'út', 'tér', 'krt.', 'Straße', 'gate'))}"
    return f"{_of(random, 'street_befores')} {pick(random, (last_name, full_name, city))(random).title()}"


def street_line(random: Random) -> str:
    """A street with a number before or after, or a crossing."""
    name, number = street(random), _digits(random, 1, 4)
    flat = f" {_of(random, 'flats')} {_digits(random, 1, 3)}" if random.random() < 0.3 else ""
    forms = (f"{number} {name}", f"{name} {number}", f"{_digits(random, 3, 5)} {name} {number}")
    return pick(random, forms) + flat if random.random() < 0.93 else f"the corner of {name} and {street(random)}"


def address(random: Random) -> str:
    """A whole postal address on one line or on several."""
    if random.random() < 0.1:
        return pick(random, ("PSC {a}, Box {b}\nAPO AE {c}", "Unit {a} Box {b}\nDPO AP {c}", "PO Box {b}, {d} {c}")).format(
            a=_digits(random, 4, 4), b=_digits(random, 3, 4), c=_digits(random, 5, 5), d=city(random)
        )
    gap, indent = pick(random, (", ", "\n", "\n ", " ")), pick(random, ("", "", " ", "    "))
    code, town = _digits(random, 4, 5), city(random)
    last = pick(
        random,
        (
            f"{town} {code}",
            f"{code} {town}",
            f"{town}, {_of(random, 'regions')} {code}",
            f"{town}{gap}{indent}{country(random)} {code}",
            town,
        ),
    )
    return f"{street_line(random)}{gap}{indent}{last}"


def _email(random: Random) -> str:
    local = f"{first_name(random)}{pick(random, ('.', '_', ''))}{last_name(random)}"
    return unicodedata.normalize("NFKD", "".join(local.split())).encode("ascii", "ignore").decode() + f"@{_of(random, 'domains')}"


def _phone(random: Random) -> str:
    tail = _digits(random, 2, 2)
    return pick(random, ("202-555-01{}", "(303) 555-01{}", "+1-415-555-01{}", "07700 9001{}", "+44 7700 9002{}", "020 7946 00{}")).format(
        tail
    )


def _date(random: Random) -> str:
    year, month, day = str(1940 + int(random.random() * 86)), _digits(random, 1, 1).replace("0", "7"), str(1 + int(random.random() * 28))
    name = pick(random, ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November"))
    days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    return pick(
        random,
        (year, f"{month}/{day}/{year}", f"{year}-0{month}-{int(day):02d}", f"{day} {name} {year}", f"{name} {day}", pick(random, days)),
    )


VALUES: dict[str, tuple[str, Callable[[Random], str]]] = {
    "person": ("NAME", person),
    "full": ("NAME", full_name),
    "first": ("NAME", first_name),
    "last": ("NAME", last_name),
    "city": ("PLACE", city),
    "country": ("PLACE", country),
    "place": ("PLACE", place),
    "company": ("ORGANISATION", company),
    "address": ("ADDRESS", address),
    "street": ("ADDRESS", street_line),
    "road": ("ADDRESS", street),
    "house": ("ADDRESS", lambda r: _digits(r, 1, 5)),
    "flat": ("ADDRESS", lambda r: f"{_of(r, 'flats')} {_digits(r, 1, 3)}"),
    "email": ("EMAIL", _email),
    "phone": ("PHONE", _phone),
    "card": ("CARD", card_number),
    "iban": ("IBAN", iban),
    "ip": ("IP", lambda r: pick(r, ("192.0.2.", "198.51.100.", "203.0.113.")) + str(1 + int(r.random() * 254))),
    "ssn": ("SSN", lambda r: f"9{_digits(r, 2, 2)}-{_digits(r, 2, 2)}-{_digits(r, 4, 4)}"),
    "url": ("URL", lambda r: f"https://www.{_of(r, 'company_starts')}{_of(r, 'company_ends')}.example/"),
    "title": ("TITLE", lambda r: pick(r, ("Mr.", "Mrs.", "Ms.", "Dr.", "Mr", "Mrs", "Ms", "Dr", "Prof.", "Miss"))),
    "job": ("TITLE", lambda r: _of(r, "jobs")),
    "age": ("AGE", lambda r: str(18 + int(r.random() * 72))),
    "nationality": ("NRP", lambda r: _of(r, "nationalities")),
    "date": ("DATE_TIME", _date),
    "zip": ("ZIP_CODE", lambda r: _digits(r, 4, 5)),
    "region": ("PLACE", lambda r: _of(r, "regions")),
}  # fmt: skip
"""What ``{kind}`` of a sentence makes: the kind of personal data, and its value."""
