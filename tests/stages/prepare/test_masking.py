"""Personal data: what is found, consistent pseudonyms, and precision and recall on labelled sentences."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.stages.prepare._jobs import run, texts, write

from luthier.core import personal_data
from luthier.core.errors import SpecError
from luthier.core.personal_data import Span, mask_text
from luthier.core.plan import PreparePlan
from luthier.stages.prepare.masking import Masker
from luthier.store import datasets

LABELLED = Path(__file__).parents[4] / "shared" / "data" / "pii" / "labelled.jsonl.gz"
NAMES = {
    "EMAIL_ADDRESS": "EMAIL",
    "PHONE_NUMBER": "PHONE", "CREDIT_CARD": "CARD", "IBAN_CODE": "IBAN", "IP_ADDRESS": "IP", "US_SSN": "SSN", "DOMAIN_NAME": "URL",
}  # fmt: skip

CASES = [
    ("mail ann.smith+x@mail.example.co.uk now", "mail <EMAIL_1> now"),
    ("call me at 541-714-1388 please", "call me at <PHONE_1> please"),
    ("my number: +44 7700 900123", "my number: <PHONE_1>"),
    ("card 4454 7945 1139 0933 was stolen", "card <CARD_1> was stolen"),
    ("card 4454794511390934 fails the check", "card 4454794511390934 fails the check"),
    ("pay to GB82 WEST 1234 5698 7654 32 today", "pay to <IBAN_1> today"),
    ("from 192.168.0.17 and 2001:db8::8a2e:370:7334", "from <IP_1> and <IP_2>"),
    ("ssn 460-89-9847", "ssn <SSN_1>"),
    ("see https://example.com/a?b=1, or www.example.org.", "see <URL_1>, or <URL_2>."),
    ("where is order ORD-12345 and inv 998877?", "where is order <ORDER_NUMBER_1> and <ORDER_NUMBER_2>?"),
    ("mail ann@intranet.local or bob.b@mail.corp, not ann@localhost", "mail <EMAIL_1> or <EMAIL_2>, not ann@localhost"),
    ("call 541\u2011714\u20111388, ssn 460\u201389\u20139847", "call <PHONE_1>, ssn <SSN_1>"),
    ("GB82\u2010WEST\u20101234\u20105698\u20107654\u201032 or 4454\u20137945\u20131139\u20130933", "<IBAN_1> or <CARD_1>"),
    ("order ORD\u201112345\u2014ann@example.com", "order <ORDER_NUMBER_1>\u2014<EMAIL_1>"),
    (
        "I bought 2 dresses on 2024-05-17 at 10:30 for 49.99 dollars.it fits",
        "I bought 2 dresses on 2024-05-17 at 10:30 for 49.99 dollars.it fits",
    ),
]


@pytest.fixture(scope="module")
def masker() -> Masker:
    return Masker(PreparePlan())


@pytest.mark.parametrize(("text", "masked"), CASES)
def test_presidio_and_patterns_mask_alike(masker: Masker, text: str, masked: str) -> None:
    assert masker.mask(text) == masked
    assert mask_text(text, (), PreparePlan().mask_patterns)[0] == masked


def test_pseudonyms_are_consistent_inside_a_conversation_only() -> None:
    masker = Masker(PreparePlan())
    assert masker.mask("I am ann@example.com", "c1") == "I am <EMAIL_1>"
    assert masker.mask("bob@example.com and ANN@example.com", "c1") == "<EMAIL_2> and <EMAIL_1>"
    assert masker.mask("bob@example.com", "c2") == "<EMAIL_1>"
    assert masker.counts == Counter(EMAIL=4)


def test_one_number_with_two_kinds_of_hyphens_has_one_pseudonym() -> None:
    masker = Masker(PreparePlan())
    assert masker.mask("541-714-1388 or 541\u2011714\u20111388", "c1") == "<PHONE_1> or <PHONE_1>"


def test_short_cells_of_other_columns_are_masked(tmp_path: Path) -> None:
    rows = [(text, "ab"[n % 2], f"B{n % 10}", "x.com") for n, text in enumerate(texts(40))]
    path = write(tmp_path / "a.csv", rows, ("text", "label", "badge", "site"))
    summary, _ = run(tmp_path / "w", {"train": [str(path)]}, mask_patterns={"BADGE": r"\bB\d\b"})
    assert summary["masked"] == {"BADGE": 40, "URL": 40}
    example = datasets.read_split(tmp_path / "w" / "out", "train")[0]
    assert example.columns == {"badge": "<BADGE_1>", "site": "<URL_1>"}


def test_a_group_that_is_personal_data_is_hashed(masker: Masker) -> None:
    assert masker.group("conv-17") == "conv-17"
    hashed = masker.group("ann@example.com")
    assert hashed.startswith("group-")
    assert hashed == masker.group("ann@example.com") != masker.group("bob@example.com")


def test_kinds_and_patterns_can_be_chosen() -> None:
    masker = Masker(PreparePlan(mask_kinds=["EMAIL", "BADGE"], mask_patterns={"BADGE": r"B\d{3}"}))
    assert masker.mask("B123 a@example.com 541-714-1388") == "<BADGE_1> <EMAIL_1> 541-714-1388"
    with pytest.raises(SpecError, match=r"prepare\.mask_patterns\.X"):
        Masker(PreparePlan(mask_patterns={"X": "("}))


def test_masking_can_be_switched_off() -> None:
    assert Masker(PreparePlan(mask=False)).mask("a@example.com ORD-12345") == "a@example.com ORD-12345"


def _judge(find: Callable[[str], list[Span]]) -> dict[str, tuple[float, float]]:
    """(precision, recall) of each kind: a span counts when it covers more than half of a labelled one of its kind."""
    right, wrong, missed = Counter[str](), Counter[str](), Counter[str]()
    with gzip.open(LABELLED, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            gold = [(e["start"], e["end"], NAMES[e["label"]]) for e in row["entities"] if e["label"] in NAMES]
            hit = set()
            for start, end, kind in find(row["text"]):
                covers = [g for g in gold if g[2] == kind and min(end, g[1]) - max(start, g[0]) > 0.5 * (g[1] - g[0])]
                (right if covers else wrong)[kind] += 1
                hit.update(covers)
            missed.update(g[2] for g in gold if g not in hit)
    return {
        kind: (right[kind] / max(1, right[kind] + wrong[kind]), right[kind] / max(1, right[kind] + missed[kind]))
        for kind in set(NAMES.values())
    }


@pytest.mark.skipif(not LABELLED.exists(), reason="needs ../shared/data/pii/labelled.jsonl.gz")
def test_precision_and_recall_on_labelled_sentences(masker: Masker) -> None:
    for find, phone_recall in ((masker.find, 0.95), (personal_data.find, 0.9)):
        for kind, (precision, recall) in _judge(find).items():
            assert precision >= 0.95, (kind, precision)
            assert recall >= (phone_recall if kind == "PHONE" else 0.97), (kind, recall)


@pytest.mark.skipif(not LABELLED.exists(), reason="needs ../shared/data/pii/labelled.jsonl.gz")
def test_the_cheap_first_look_loses_nothing() -> None:
    with gzip.open(LABELLED, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            wanted = [
                e
                for e in row["entities"]
                if e["label"] in ("EMAIL_ADDRESS", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS", "US_SSN", "DOMAIN_NAME", "PHONE_NUMBER")
            ]
            assert not wanted or personal_data.suspect(row["text"]), row["text"]
