"""Personal data found by patterns and check digits: each check, who wins an overlap, and pseudonyms that stay the same."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.core.personal_data import (
    KINDS,
    MOST_VALUES,
    Numbers,
    Span,
    address,
    find,
    iban,
    luhn,
    mask_text,
    phone_like,
    replace,
    suspect,
    without_overlaps,
)

PIECES = [
    "ann@example.com", "+44 7700 900123", "4454 7945 1139 0933", "GB82 WEST 1234 5698 7654 32", "192.168.0.17", "460-89-9847",
    "https://example.com/a?b=1", "2001:db8::8a2e:370:7334", "hello", "call", "17", "2024-05-17", "<EMAIL_1>",
    ", ", " ", "\n", ":", "@", ".", "ü",
]  # fmt: skip


@pytest.mark.parametrize(("number", "right"), [("4539 1488 0343 6467", True), ("4539 1488 0343 6468", False), ("0", True), ("", False)])
def test_check_digit_of_cards(number: str, right: bool) -> None:
    assert luhn(number) is right


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ("GB82 WEST 1234 5698 7654 32", True),
        ("de89370400440532013000", True),
        ("NO93-8601-1117-947", True),
        ("GB82 WEST 1234 5698 7654 33", False),
        ("GB82WEST", False),
    ],
)
def test_check_digits_of_accounts(value: str, right: bool) -> None:
    assert iban(value) is right


@pytest.mark.parametrize(
    ("value", "right"),
    [("192.168.0.17", True), ("256.1.1.1", False), ("2001:db8::1", True), ("::", False), ("1.2.3", False), ("10:30:59", False)],
)
def test_addresses(value: str, right: bool) -> None:
    assert address(value) is right


@pytest.mark.parametrize(
    ("value", "right"),
    [("+44 7700 900123", True), ("123456", False), ("1234567890123456", False), ("2024-05-17", False), ("17.05.2024", False)],
)
def test_phones_are_not_dates(value: str, right: bool) -> None:
    assert phone_like(value) is right


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Ann.O'Neil@mail.example.co.uk!", "<EMAIL_1>!"),
        ("(call 555-123-4567)", "(call <PHONE_1>)"),
        ("my mobile: 07700900123", "my mobile: <PHONE_1>"),
        ("5551234567 (office)", "<PHONE_1> (office)"),
        ("de89 3704 0044 0532 0130 00 is my account", "<IBAN_1> is my account"),
        ("4539148803436467", "<CARD_1>"),
        ("visit example.org, please", "visit <URL_1>, please"),
        ("http://10.0.0.1/admin", "<URL_1>"),
        ("it is ::1 and fe80::1ff:fe23:4567:890a", "it is ::1 and <IP_1>"),
        ("", ""),
        ("ünïcode ann@example.com ünïcode", "ünïcode <EMAIL_1> ünïcode"),
    ],
)
def test_what_is_masked(text: str, masked: str) -> None:
    assert mask_text(text)[0] == masked


@pytest.mark.parametrize(
    "text",
    [
        "The soup was cold.",
        "12 eggs, 3 kg of flour at 10:30 on 2024-05-17 for 49.99",
        "order 4539148803436468 fails the check",
        "version 1.2.3 of std::vector",
        "follow @ann or write to ann at example",
        "666-12-3456 123-00-4567",
        "999.999.999.999",
        "I rate it 5/5, 10/10!",
    ],
)
def test_what_stays_as_it_is(text: str) -> None:
    assert mask_text(text) == (text, {})


def test_only_the_wanted_kinds_are_masked() -> None:
    text = "ann@example.com 192.168.0.17"
    assert mask_text(text, ["IP"]) == ("ann@example.com <IP_1>", {"IP": 1})
    assert mask_text(text, ["IBAN"]) == (text, {})


def test_a_persons_own_kinds_come_first() -> None:
    masked, counts = mask_text("ref ann@example.com and ord-17", (), {"REFERENCE": r"ref \S+", "ORDER": r"ORD-\d+"})
    assert masked == "<REFERENCE_1> and <ORDER_1>"
    assert counts == {"REFERENCE": 1, "ORDER": 1}


def test_own_kinds_are_found_where_nothing_else_is_suspected() -> None:
    assert not suspect("badge B")
    assert mask_text("badge B", (), {"BADGE": r"badge \w"})[0] == "<BADGE_1>"


def test_counts_are_of_places_and_numbers_of_values() -> None:
    masked, counts = mask_text("ann@example.com bob@example.com ANN@example.com")
    assert masked == "<EMAIL_1> <EMAIL_2> <EMAIL_1>"
    assert counts == {"EMAIL": 3}


def test_numbers_go_on_while_they_are_kept() -> None:
    numbers: Numbers = {}
    assert mask_text("call 541-714-1388", numbers=numbers)[0] == "call <PHONE_1>"
    assert mask_text("call 555-123-4567 or (541) 714.1388", numbers=numbers)[0] == "call <PHONE_2> or <PHONE_1>"
    assert mask_text("call 555-123-4567")[0] == "call <PHONE_1>", "another conversation"


@pytest.mark.parametrize("hyphen", ["\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "\u2015", "\u2212"])
def test_the_hyphens_of_typesetters_hide_nothing(hyphen: str) -> None:
    for plain, kind in (("541-714-1388", "PHONE"), ("460-89-9847", "SSN"), ("4454-7945-1139-0933", "CARD"), ("NO93-8601-1117-947", "IBAN")):
        text = f"it is {plain.replace('-', hyphen)} today"
        assert suspect(text)
        assert mask_text(text)[0] == f"it is <{kind}_1> today"
    numbers: Numbers = {}
    assert mask_text("541-714-1388", numbers=numbers)[0] == "<PHONE_1>"
    assert mask_text(f"call 541{hyphen}714{hyphen}1388", numbers=numbers)[0] == "call <PHONE_1>", "the same number"
    assert mask_text(f"ref ORD{hyphen}1234", (), {"ORDER": r"ORD-\d{4}", "DASHED": f"ref(?= ORD{hyphen})"})[0] == "<DASHED_1> <ORDER_1>"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("ann\u2011smith@example.com", "<EMAIL_1>"),
        ("write me\u2014ann@example.com", "write me\u2014<EMAIL_1>"),
        ("www.example.com\u2014see there", "<URL_1>"),
        ("example.com\u2014see there", "<URL_1>\u2014see there"),
        ("call 541\u00a0714\u00a01388", "call <PHONE_1>"),
        ("the years 2019\u20132024, pages 10\u201312", "the years 2019\u20132024, pages 10\u201312"),
    ],
)
def test_a_dash_parts_words_and_a_hyphen_does_not(text: str, masked: str) -> None:
    assert mask_text(text)[0].startswith(masked)


def test_values_of_one_conversation_are_bounded() -> None:
    numbers: Numbers = {}
    for number in range(MOST_VALUES + 5):
        masked, _ = mask_text(f"u{number}@example.com", numbers=numbers)
    assert masked == f"<EMAIL_{MOST_VALUES + 1}>"
    assert len(numbers["EMAIL"]) == MOST_VALUES
    assert mask_text("u7@example.com", numbers=numbers)[0] == "<EMAIL_8>"


def test_the_surer_kind_wins_then_the_longer_span() -> None:
    assert KINDS.index("EMAIL") < KINDS.index("URL") < KINDS.index("PHONE")
    spans = [Span(0, 9, "PHONE"), Span(3, 5, "EMAIL"), Span(20, 24, "URL"), Span(18, 30, "URL"), Span(40, 40, "IP"), Span(50, 51, "OWN")]
    assert without_overlaps(spans) == [Span(3, 5, "EMAIL"), Span(18, 30, "URL"), Span(50, 51, "OWN")]
    assert without_overlaps([Span(0, 5, "EMAIL"), Span(1, 2, "OWN")]) == [Span(1, 2, "OWN")]
    assert without_overlaps([Span(5, 8, "IP"), Span(0, 5, "IP"), Span(0, 5, "IP")]) == [Span(0, 5, "IP"), Span(5, 8, "IP")]


def test_replacing_nothing_gives_the_text_back() -> None:
    assert replace("a text", [], {}) == "a text"
    assert replace("ab", [Span(0, 1, "NAME"), Span(1, 2, "NAME")], {}) == "<NAME_1><NAME_2>"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text("a1@.: -+é", max_size=6), max_size=12).map("".join))
def test_whatever_the_text_spans_are_in_order_and_only_they_are_replaced(text: str) -> None:
    spans = find(text)
    ends = [0, *(span.end for span in spans)]
    assert all(end <= span.start < span.end <= len(text) for end, span in zip(ends, spans, strict=False))
    masked, counts = mask_text(text)
    assert sum(counts.values()) == len(spans)
    rest = "".join(text[end : span.start] for end, span in zip(ends, spans, strict=False)) + text[ends[-1] :]
    added = re.sub(r"<(?:" + "|".join(KINDS) + r")_\d+>", "", masked)
    assert added == re.sub(r"<(?:" + "|".join(KINDS) + r")_\d+>", "", rest), "only spans were replaced"
    assert spans == [] or suspect(text), "the cheap first look loses nothing"


@pytest.mark.parametrize("piece", ["a", "1", "1 ", "a.", "@", ":", "a-", "(", "1.1.", "GB82"])
def test_the_first_look_at_a_long_text_is_quick(piece: str) -> None:
    start = time.perf_counter()
    suspect(piece * (100_000 // len(piece)))
    assert time.perf_counter() - start < 10, "quadratic would be minutes"


@pytest.mark.parametrize(
    "text",
    ["a" * 20_000 + " x@y", "1" * 20_000, "a@" + "a." * 10_000, "a" * 20_000 + "@", "@a.bc " * 5_000, "@" * 20_000, "a@b.cd/" * 3_000],
)
def test_masking_a_long_text_is_quick(text: str) -> None:
    start = time.perf_counter()
    mask_text(text)
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("ann@example.com/bob@example.com", "<EMAIL_1><EMAIL_2>"),
        ("ann@example.com|bob@example.com", "<EMAIL_1><EMAIL_2>"),
        ("(o'neil+shop@mail.example.org)", "(<EMAIL_1>)"),
        ("ann@b.com@example.com", "<EMAIL_1>@example.com"),
        ("@example.com ann.@example.com é@example.com", "@example.com ann.@example.com <EMAIL_1>"),
        ("@example.comann@example.org", "@<EMAIL_1>"),
    ],
)
def test_what_an_address_begins_with(text: str, masked: str) -> None:
    assert mask_text(text, ["EMAIL"])[0] == masked


_LETTER = r"A-Za-z0-9À-ɏͰ-ϿЀ-ӿḀ-ỿ"
WHOLE_EMAIL = re.compile(
    rf"[{_LETTER}!#$%&'*+/=?^_`{{|}}~.\-]*[{_LETTER}_+\-]@(?:[{_LETTER}](?:[{_LETTER}-]*[{_LETTER}])?\.)+[A-Za-z]{{2,24}}"
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["a", "bc", "@", ".", "/", "-", " ", "é", "1", ".com", "@x.org"]), max_size=14).map("".join))
def test_addresses_are_found_as_one_pattern_would_find_them(text: str) -> None:
    assert find(text, ["EMAIL"]) == [Span(*match.span(), "EMAIL") for match in WHOLE_EMAIL.finditer(text) if suspect(text)]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to Aroha_Németh@mail.example now", "write to <EMAIL_1> now"),
        ("jörg.müller@müller-söhne.de", "<EMAIL_1>"),
        ("пиши на иван@почта.example, спасибо", "пиши на <EMAIL_1>, спасибо"),
        ("请写信给 ann@example.com 谢谢", "请写信给 <EMAIL_1> 谢谢"),
        ("请联系ann@example.com谢谢", "请联系<EMAIL_1>谢谢"),
    ],
)
def test_addresses_of_e_mail_with_letters_beyond_ascii(text: str, masked: str) -> None:
    assert mask_text(text)[0] == masked
