"""Personal data in a text, found by patterns and check digits alone: what a serving machine uses, where Presidio is not installed.

``prepare`` finds the same kinds with Presidio (``stages/prepare/masking.py``) and uses this file for the cheap first look,
the order of kinds and the pseudonyms, so that both sides write ``<EMAIL_1>`` alike.
"""

from __future__ import annotations

import ipaddress
import re
import string
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from luthier.core.edits import Edit, applied

KINDS: tuple[str, ...] = ("EMAIL", "URL", "IBAN", "CARD", "SSN", "IP", "PHONE", "NAME", "PLACE", "ORGANISATION", "ADDRESS")
"""Every kind, the surest first: where two overlap, the surer wins. A person's own patterns come before all of them.

The last four are found by a model only (``prepare.ner_model``).
"""

Numbers = dict[str, dict[str, int]]
"""Kind -> value -> number: which pseudonym a value has inside one conversation."""

MOST_VALUES = 10_000
"""Values of a kind that one conversation tells apart; those that come later share a number, so that memory stays bounded."""


class Span(NamedTuple):
    """``text[start:end]`` is personal data of a kind."""

    start: int
    end: int
    kind: str


TRIGGER = re.compile(
    r"@|://|www\.|\d[\d\s().\-/]{4,}\d|\d\.\d{1,3}\.\d|[a-z]{2}\d{2}[ -]?[a-z0-9]{4}|::|[0-9a-f]:[0-9a-f]{1,4}:"
    r"|\.(?:com|org|net|edu|gov|io|info|biz)\b",
    re.IGNORECASE,
)
"""A text in which this finds nothing holds none of the kinds that patterns know (names and places excepted)."""

_HYPHENS = dict.fromkeys((0x2010, 0x2011), "-")
_DASHES = _HYPHENS | dict.fromkeys((*range(0x2012, 0x2016), 0x2212), "-") | dict.fromkeys((0xA0, 0x2007, 0x2009, 0x202F), " ")


def words(text: str) -> str:
    """The text, as long as before, as addresses are looked for in it: the hyphens of typesetters are ``-``; a dash parts words."""
    return text if text.isascii() else text.translate(_HYPHENS)


def figures(text: str) -> str:
    """The text, as long as before, as numbers are looked for in it: hyphens, dashes and hard spaces of typesetters are ``-`` and space."""
    return text if text.isascii() else text.translate(_DASHES)


_DIGIT = re.compile(r"\d")
_DOTTED = re.compile(r"\.\w")


def suspect(text: str) -> bool:
    """Whether the text can hold any of these kinds at all. Most texts end at the first line, which costs next to nothing."""
    if not ("@" in text or ":" in text or _DIGIT.search(text) or _DOTTED.search(text)):
        return False
    return TRIGGER.search(figures(text)) is not None


_LETTER = r"A-Za-z0-9\u00c0-\u024f\u0370-\u03ff\u0400-\u04ff\u1e00-\u1eff"
"""Latin with its accents, Greek, Cyrillic: what an internationalized address (RFC 6531) may hold where words are set apart by spaces."""
EMAIL = re.compile(rf"(?<=[{_LETTER}_+\-])@(?:[{_LETTER}](?:[{_LETTER}-]*[{_LETTER}])?\.)+[A-Za-z]{{2,24}}")
"""An address from its @ on; ``_email_spans`` finds what stands before it."""
EMAIL_NAME = (
    "".join(
        chr(code) for first, last in ((0xC0, 0x24F), (0x370, 0x3FF), (0x400, 0x4FF), (0x1E00, 0x1EFF)) for code in range(first, last + 1)
    )
    + string.ascii_letters
    + string.digits
    + "!#$%&'*+/=?^_`{|}~.-"
)
"""What the part before the @ is made of."""
URL = re.compile(
    r"(?:https?|ftp)://[^\s<>\"']*[^\s<>\"'.,;:!?)\]]|\bwww\d?\.[a-z0-9-]+\.[^\s<>\"']*[^\s<>\"'.,;:!?)\]]"
    r"|(?<![@\w.-])(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+(?:com|org|net|edu|gov|io|info|biz)(?![\w@-])(?:/[^\s<>\"']*[^\s<>\"'.,;:!?)\]])?",
    re.IGNORECASE,
)
IBAN = re.compile(r"(?<![A-Z0-9])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?(?![A-Z0-9])", re.IGNORECASE)
CARD = re.compile(r"(?<![\w+-])(?:3[0-9]|4\d|5\d|6\d|2[2-7]|18|21)(?:[ -]?\d){10,17}(?![\d-])")
SSN = re.compile(r"(?<![\d-])(?!000|666)\d{3}([- .])(?!00)\d{2}\1(?!0000)\d{4}(?![\d-])")
IP = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]*\d)|(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])", re.IGNORECASE)
PHONE = re.compile(
    r"(?<![\w.])(?:\+\d{1,3}[ .\-/]?(?:\(\d{1,5}\)[ .\-/]?)?\d{1,5}(?:[ .\-/]?\d{2,5}){1,4}"
    r"|\(\d{2,5}\)[ .\-/]?\d{2,5}(?:[ .\-/]\d{2,5}){0,3}|\d{3}[ .\-]\d{3}[ .\-]\d{4}|0\d{2,4}[ \-/]\d{2,4}(?:[ \-]\d{2,4}){0,3})(?![\w-])"
)
PHONE_WORDS = re.compile(
    r"(?:phone|call|cell|mobile|tel|telephone|fax|desk|ring|whatsapp|sms|reach|contact|dial|text)\b[^\d]{0,30}$", re.IGNORECASE
)
PHONE_WORDS_AFTER = re.compile(r"[ \-,:(]{0,3}(?:office|fax|mobile|cell|home|desk|phone)\b", re.IGNORECASE)
PHONE_NUMBER = re.compile(r"(?<![\w.])\+?\(?\d(?:[ .\-()/]{0,2}\d){6,14}(?![\w])")


def luhn(number: str) -> bool:
    """Whether the digits pass the check of payment cards (ISO/IEC 7812-1); other characters are skipped."""
    digits = [int(c) for c in number if c.isdigit()]
    doubled = [d * 2 - 9 if d > 4 else d * 2 for d in digits[-2::-2]]
    return bool(digits) and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def iban(value: str) -> bool:
    """Whether the check digits of an account number are right (ISO 13616: the rest of 97 is 1)."""
    plain = re.sub(r"[ -]", "", value).upper()
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def address(value: str) -> bool:
    """Whether it is an IP address, and not a lone ``::`` or a version number of three parts."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return len(value) > 6 and any(c.isdigit() for c in value)


def phone_like(value: str) -> bool:
    """7 to 15 digits (ITU-T E.164) and not a date."""
    return 7 <= sum(c.isdigit() for c in value) <= 15 and not re.fullmatch(
        r"(?:19|20)\d\d[-/. ]\d\d?[-/. ]\d\d?|\d\d?[-/.]\d\d?[-/.](?:19|20)\d\d", value
    )


def _email_spans(text: str) -> Iterable[Span]:
    """The name is found backwards from the @: a pattern for the whole address reads a long word anew from each of its letters."""
    floor = 0
    for match in EMAIL.finditer(text):
        start = floor + len(text[floor : match.start()].rstrip(EMAIL_NAME))
        if start < match.start():
            yield Span(start, match.end(), "EMAIL")
            floor = match.end()
        else:
            floor = match.start() + 1


def _iban_spans(text: str) -> Iterable[Span]:
    """A pattern that is greedy may swallow the word after the number: shorter cuts are tried until the check digits fit."""
    for match in IBAN.finditer(text):
        for end in range(match.end(), match.start() + 14, -1):
            if iban(text[match.start() : end]) and text[end - 1].isalnum() and (end == len(text) or not text[end].isalnum()):
                yield Span(match.start(), end, "IBAN")
                break


def _matches(kind: str, pattern: re.Pattern[str], check: Callable[[str], bool] | None, text: str) -> Iterable[Span]:
    for match in pattern.finditer(text):
        if check is None or check(match.group()):
            yield Span(match.start(), match.end(), kind)


def spoken_phones(text: str) -> Iterable[Span]:
    """Digits after a word such as "call" or "phone number", or before one such as "office"."""
    for match in PHONE_NUMBER.finditer(text):
        near = PHONE_WORDS.search(text, max(0, match.start() - 50), match.start()) or PHONE_WORDS_AFTER.match(text, match.end())
        if near and phone_like(match.group()):
            yield Span(match.start(), match.end(), "PHONE")


_FINDERS: dict[str, Callable[[str], Iterable[Span]]] = {
    "EMAIL": _email_spans,
    "URL": lambda text: _matches("URL", URL, None, text),
    "IBAN": _iban_spans,
    "CARD": lambda text: _matches("CARD", CARD, luhn, text),
    "SSN": lambda text: _matches("SSN", SSN, None, text),
    "IP": lambda text: _matches("IP", IP, address, text),
    "PHONE": lambda text: [*_matches("PHONE", PHONE, phone_like, text), *spoken_phones(text)],
}


def find(text: str, kinds: Iterable[str] = (), patterns: Mapping[str, re.Pattern[str]] | None = None) -> list[Span]:
    """Personal data in the text, without overlaps, in order. ``kinds``: some of ``KINDS`` (empty: all); ``patterns``: own kinds."""
    found = list(own(text, patterns or {}))
    if suspect(text):
        wanted = set(kinds) or set(KINDS)
        for kind, finder in _FINDERS.items():
            if kind in wanted:
                found.extend(finder(searched(kind, text)))
    return without_overlaps(found)


def searched(kind: str, text: str) -> str:
    """The text as a kind is looked for in it."""
    return words(text) if kind in ("EMAIL", "URL") else figures(text)


def own(text: str, patterns: Mapping[str, re.Pattern[str]]) -> Iterable[Span]:
    """What a person's own patterns find, in the text as it is and with plain hyphens and spaces."""
    for form in dict.fromkeys((text, figures(text))):
        for kind, pattern in patterns.items():
            yield from (Span(match.start(), match.end(), kind) for match in pattern.finditer(form))


def without_overlaps(spans: Iterable[Span]) -> list[Span]:
    """The surer kind wins, then the longer span; in order of place."""
    rank = {kind: number for number, kind in enumerate(KINDS)}
    kept: list[Span] = []  # always in order and without overlaps: only the neighbours of a place can overlap what comes there
    for span in sorted(set(spans), key=lambda s: (rank.get(s.kind, -1), s.start - s.end, s.start)):
        at = bisect(kept, span)
        before, after = kept[at - 1 : at], kept[at : at + 1]
        if span.end > span.start and all(one.end <= span.start for one in before) and all(one.start >= span.end for one in after):
            kept.insert(at, span)
    return kept


def replace(text: str, spans: list[Span], numbers: Numbers) -> str:
    """The text with pseudonyms: the same value (case and separators aside) gets the same number as long as ``numbers`` is kept."""
    return applied(text, edits(text, spans, numbers))


def edits(text: str, spans: list[Span], numbers: Numbers) -> list[Edit]:
    """What ``replace`` changes, in order of place."""
    found: list[Edit] = []
    for start, end, kind in spans:
        known = numbers.setdefault(kind, {})
        value = searched(kind, text[start:end]).casefold()
        if kind in ("PHONE", "CARD", "IBAN", "SSN"):
            value = re.sub(r"[\s().\-/]", "", value)
        number = known.get(value) or len(known) + 1
        if number <= MOST_VALUES:
            known[value] = number
        found.append(Edit(start, end, f"<{kind}_{number}>"))
    return found


def mask_text(
    text: str, kinds: Iterable[str] = (), patterns: Mapping[str, str] | None = None, numbers: Numbers | None = None
) -> tuple[str, dict[str, int]]:
    """The masked text and how often each kind was found, by patterns alone (no names, no places).

    >>> mask_text("write to ann@example.com or bob@example.com")
    ('write to <EMAIL_1> or <EMAIL_2>', {'EMAIL': 2})
    """
    changes, counts = mask_edits(text, kinds, patterns, numbers)
    return (applied(text, changes) if changes else text), counts


def mask_edits(
    text: str, kinds: Iterable[str] = (), patterns: Mapping[str, str] | None = None, numbers: Numbers | None = None
) -> tuple[list[Edit], dict[str, int]]:
    """What ``mask_text`` replaces, and how often each kind was found."""
    spans = find(text, kinds, {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in (patterns or {}).items()})
    return edits(text, spans, {} if numbers is None else numbers), dict(Counter(span.kind for span in spans))
