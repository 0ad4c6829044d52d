"""Serving masks as prepare did: an address and its pseudonym are one text to the model, with one id and one answer."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from luthier.core import registry
from luthier.core.personal_data import mask_text
from luthier.core.plan import PreparePlan
from luthier.core.types import Example, content_id
from luthier.stages.serve.engine import Endpoint
from luthier.stages.serve.masking import Masking
from luthier.store import files

TASK = registry.get("tasks", "text-classification")
PAIRS = (
    ("please write to jane.doe@example.com about my refund", "please write to <EMAIL_1> about my refund"),
    ("ORD-12345 has not arrived yet", "<ORDER_NUMBER_1> has not arrived yet"),
    ("was 4111 1111 1111 1111 charged twice, or 5500 0000 0000 0004?", "was <CARD_1> charged twice, or <CARD_2>?"),
)


def _example(text: str) -> Example:
    return Example(content_id({"text": text}), {"text": text})


def _masked(masking: Masking, text: str) -> str:
    return TASK.text(masking.example(TASK, _example(text))[0])


@pytest.mark.parametrize(("text", "masked"), PAIRS)
def test_an_address_and_its_pseudonym_get_the_same_id_and_answer(export_folder: Path, text: str, masked: str) -> None:
    endpoint = Endpoint.open(export_folder, threads=1)
    try:
        ((raw,), (hidden,)) = (endpoint.predict_now(TASK.request({"text": said})) for said in (text, masked))
    finally:
        endpoint.close()
    assert raw.prediction.id == hidden.prediction.id == content_id({"text": masked})
    assert (raw.prediction.output, raw.prediction.scores) == (hidden.prediction.output, hidden.prediction.scores)
    assert raw.tokens == hidden.tokens


def test_a_model_of_unmasked_texts_is_asked_what_people_wrote(export_folder: Path, tmp_path: Path) -> None:
    for name in ("on", "off"):
        files.write_json(tmp_path / name / "plan.json", {"prepare": PreparePlan(mask=name == "on").model_dump()})
    text, masked = PAIRS[0]
    assert _masked(Masking.of(tmp_path / "on"), text) == masked
    assert _masked(Masking.of(tmp_path / "off"), text) == text
    assert _masked(Masking.of(tmp_path), text) == text, "no plan, nothing known"
    assert Masking.of(export_folder).on, "the fixture's plan masks: else the tests here say nothing"


def test_the_kinds_and_patterns_are_the_plans() -> None:
    said = PreparePlan(mask_kinds=["EMAIL", "BADGE"], mask_patterns={"BADGE": r"badge \w+", "SHELF": r"shelf \w+"}).model_dump()
    text = "badge B7, shelf C9, ann@example.com, call 541-714-1388, ORD-12345"
    assert _masked(Masking(said), text) == "<BADGE_1>, shelf C9, <EMAIL_1>, call 541-714-1388, ORD-12345"


def test_what_is_written_down_is_masked_whatever_the_plan_left_out() -> None:
    text = "badge B7, ann@example.com, ORD-12345"
    narrow = Masking({"mask": False, "mask_kinds": ["PHONE"], "mask_patterns": {"BADGE": r"badge \w+"}})
    assert narrow.kept(text) == "<BADGE_1>, <EMAIL_1>, ORD-12345"
    assert Masking({}).kept(text) == "badge B7, <EMAIL_1>, <ORDER_NUMBER_1>", "without a plan, the patterns are prepare's own"


def test_a_text_without_anything_suspicious_is_left_alone_at_once() -> None:
    masking = Masking(PreparePlan().model_dump())
    plain = _example("my parcel was delivered to the wrong house and nobody answers me")
    assert masking.example(TASK, plain)[0] is plain
    best_s = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(100):
            masking.example(TASK, plain)
        best_s = min(best_s, (time.perf_counter() - start) / 100)
    assert best_s < 50e-6, f"{best_s * 1e6:.0f} microseconds a text"


def test_masking_twice_changes_nothing() -> None:
    masking = Masking(PreparePlan().model_dump())
    for text, masked in PAIRS:
        assert masking.kept(text) == masking.kept(masked) == mask_text(text, (), PreparePlan().mask_patterns)[0] == masked
