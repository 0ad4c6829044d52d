"""Invented people, order numbers, cards and places: valid by form and checksum, but nobody's.

Phone numbers are from the range that Ofcom keeps for drama (07700 900xxx) and the North American 555-01xx; e-mail domains
and IP ranges are those that RFC 2606 and RFC 5737 keep for examples; card numbers begin with issuer ranges and end with a
Luhn digit (ISO/IEC 7812-1); IBANs have ISO 7064 mod 97-10 check digits over an invented account.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from luthier.catalog.grammar import Piece, load, pick

_WORDS = load("invented")
FIRST: list[str] = _WORDS["first_names"]
LAST: list[str] = _WORDS["last_names"]
CITIES: list[str] = _WORDS["cities"]
STREETS: list[str] = _WORDS["streets"]
_LOOKS: list[str] = _WORDS["looks"]
_THINGS: list[str] = _WORDS["things"]
_MAILS = ("example.com", "example.org", "example.net", "mail.example", "post.example")
ENTITIES = (
    "order_number", "invoice_number", "product", "date", "amount", "city", "person", "email", "phone", "address", "card", "iban", "ip",
    "store", "coupon", "time",
)  # fmt: skip
"""Kinds that are marked as entities; the others (weekday, year, number, last4) are plain words."""


def _number(random: Random, low: int, high: int) -> int:
    return low + int(random.random() * (high - low + 1))


def _digits(random: Random, count: int) -> str:
    return "".join(str(int(random.random() * 10)) for _ in range(count))


def luhn_digit(digits: str) -> str:
    """The last digit that makes ``digits`` a valid card number (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def card_number(random: Random) -> str:
    """16 digits in fours, Luhn-valid, issuer range of Visa or Mastercard."""
    body = pick(random, ("4", "51", "52", "53", "54", "55"))
    body += _digits(random, 15 - len(body))
    number = body + luhn_digit(body)
    gap = pick(random, (" ", "-", ""))
    return gap.join(number[i : i + 4] for i in range(0, 16, 4))


def iban(random: Random) -> str:
    """A German or Dutch IBAN with right check digits (ISO 13616, mod 97-10)."""
    country, account = pick(random, (("DE", _digits(random, 18)), ("NL", "LUTH" + _digits(random, 10))))
    spelled = "".join(str(int(c, 36)) for c in account + country + "00")
    whole = f"{country}{98 - int(spelled) % 97:02d}{account}"
    return " ".join(whole[i : i + 4] for i in range(0, len(whole), 4)) if random.random() < 0.5 else whole


def product(random: Random) -> str:
    """A thing that a shop sells, sometimes with a colour or a size."""
    thing = pick(random, _THINGS)
    return f"{pick(random, _WORDS['looks'])} {thing}" if random.random() < 0.45 else thing


def _date(random: Random) -> str:
    day, month, year = _number(random, 1, 28), _number(random, 1, 12), _number(random, 2023, 2026)
    name: str = _WORDS["months"][month - 1]
    numbers = (f"{day:02d}.{month:02d}.{year}", f"{year}-{month:02d}-{day:02d}", f"{day}/{month}")
    return pick(random, (f"{day} {name}", f"{name} {day}", f"{day} {name[:3]} {year}", *numbers))


def _amount(random: Random) -> str:
    whole, cents = _number(random, 4, 900), pick(random, ("00", "50", "90", "95", "99", _digits(random, 2)))
    exact = f"{whole}.{cents}"
    return pick(random, (f"{exact} euros", f"${exact}", f"£{exact}", f"€{exact}", f"{whole} euros", f"{whole} dollars"))


def _phone(random: Random) -> str:
    tail = _digits(random, 3)
    return pick(random, (f"07700 900{tail}", f"+44 7700 900{tail}", f"+1 202 555 01{tail[:2]}", f"(303) 555-01{tail[:2]}"))


def _order_number(random: Random) -> str:
    return pick(random, ("ORD-", "ORD ", "ORDER-", "#", "", "PO-")) + _digits(random, _number(random, 6, 8))


_CODES = ("SAVE", "WELCOME", "SPRING", "VIP", "GIFT", "SUN")


class Persona:
    """Who writes a conversation: their name, mail, phone, home and order stay the same over its messages."""

    def __init__(self, random: Random) -> None:
        self._random = random
        first, last = pick(random, FIRST), pick(random, LAST)
        self.person = f"{first} {last}" if random.random() < 0.7 else first
        self.email = f"{first}{pick(random, ('.', '_', ''))}{last}{pick(random, ('', _digits(random, 2)))}@{pick(random, _MAILS)}".lower()
        self.phone = _phone(random)
        self.city = pick(random, CITIES)
        self.order_number = _order_number(random)
        self.product = product(random)
        self.used: set[str] = set()

    def piece(self, kind: str) -> Piece:
        """A value of a kind, in the words of this person."""
        return Piece(self._value(kind), kind if kind in ENTITIES else "")

    def _value(self, kind: str) -> str:
        random = self._random
        own = getattr(self, kind, "") if kind in ("person", "email", "phone", "city", "order_number", "product") else ""
        if own and kind not in self.used and (kind == "email" or random.random() < 0.8):
            self.used.add(kind)
            return str(own)
        return _MAKERS[kind](random)


_MAKERS: dict[str, Callable[[Random], str]] = {
    "order_number": _order_number,
    "invoice_number": lambda r: f"INV-{_number(r, 2023, 2026)}-{_digits(r, 5)}" if r.random() < 0.5 else f"INV{_digits(r, 7)}",
    "product": product,
    "date": _date,
    "amount": _amount,
    "city": lambda r: pick(r, CITIES),
    "person": lambda r: f"{pick(r, FIRST)} {pick(r, LAST)}" if r.random() < 0.6 else pick(r, ("Mr ", "Ms ", "Mrs ")) + pick(r, LAST),
    "email": lambda r: f"{pick(r, FIRST)}.{pick(r, LAST)}@{pick(r, _MAILS)}".lower(),
    "phone": _phone,
    "address": lambda r: f"{_number(r, 1, 199)} {pick(r, STREETS)}, {pick(r, CITIES)}",
    "card": card_number,
    "iban": iban,
    "ip": lambda r: pick(r, ("192.0.2.", "198.51.100.", "203.0.113.")) + str(_number(r, 1, 254)),
    "store": lambda r: f"the {pick(r, STREETS)} {pick(r, ('shop', 'store', 'branch'))}",
    "coupon": lambda r: pick(r, _CODES) + _digits(r, 2),
    "time": lambda r: pick(r, (f"{_number(r, 1, 12)} {pick(r, ('am', 'pm'))}", f"{_number(r, 7, 22)}:{pick(r, ('00', '15', '30', '45'))}")),
    "weekday": lambda r: pick(r, _WORDS["weekdays"]),
    "year": lambda r: str(_number(r, 2019, 2026)),
    "number": lambda r: str(_number(r, 2, 30)),
    "last4": lambda r: _digits(r, 4),
}  # fmt: skip
