"""Sentences of laws and contracts, and the two baselines that take one."""

from __future__ import annotations

from pathlib import Path

import pytest

from luthier.baselines._sentences import sentences
from luthier.baselines.lead_1 import plugin as lead
from luthier.baselines.textrank import central
from luthier.core.plan import EvaluatePlan, TrainPlan
from luthier.core.ports import BaselineContext
from luthier.core.types import Example
from luthier.core.writing import texts_in
from luthier.tasks.summarization import plugin as task


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("One sentence", ["One sentence"]),
        ("First one. Second one? Third!", ["First one.", "Second one?", "Third!"]),
        ("Under 5 U.S.C. Sec. 552 a record is public. It is free.", ["Under 5 U.S.C. Sec. 552 a record is public.", "It is free."]),
        ("SECTION 1. SHORT TITLE.\n\nThis Act may be cited.", ["SECTION 1. SHORT TITLE.", "This Act may be cited."]),
        ("Acme Inc. pays. Mr. Smith signs.", ["Acme Inc. pays.", "Mr. Smith signs."]),
        ("He paid.   \n  She did\nnot.", ["He paid.", "She did not."]),
    ],
)
def test_sentences(text: str, found: list[str]) -> None:
    assert sentences(text) == found


def test_the_central_sentence_is_the_one_that_speaks_of_what_the_others_speak_of() -> None:
    text = ["Rent is due monthly.", "Deposits are returned.", "Monthly rent and returned deposits are settled.", "Whales sing."]
    assert central(text) == text[2]
    assert central([]) == ""
    assert central(["..."]) == "..."
    assert central(["...", "!!!"]) == "..."


def test_lead_takes_the_first(tmp_path: Path) -> None:
    rows = [Example("1", {"text": "It is due. Now."}), Example("2", {"text": "  "})]
    context = BaselineContext(task, {}, tmp_path, TrainPlan(), EvaluatePlan(), lambda *a, **k: None, tmp_path)
    assert texts_in(lead.run([], rows, context).outputs, 2) == ["It is due.", ""]
