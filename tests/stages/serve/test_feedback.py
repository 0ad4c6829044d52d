"""Judgements: a right label is one that the endpoint knows, and what people write is masked."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.core.errors import InputError
from luthier.stages.serve.feedback import judgement
from luthier.stages.serve.masking import Masking

ONE = {"labels": ["double_charge", "refund", "track_order"], "multi_label": False}
SEVERAL = ONE | {"multi_label": True}


def _judged(schema: dict[str, Any] = ONE, **said: Any) -> Any:
    return judgement("support", "abc", schema=schema, masking=Masking({}), **said)


def test_a_comment_is_masked() -> None:
    event = _judged(thumbs="down", comment="jane.doe@example.com asked for ORD-12345")
    assert (event.comment, event.thumbs, event.right) == ("<EMAIL_1> asked for <ORDER_NUMBER_1>", "down", None)


@pytest.mark.parametrize("wrong", ["refunds", ["refunds"], "jane.doe@example.com", "x" * 2000])
@pytest.mark.parametrize("schema", [ONE, SEVERAL])
def test_an_unknown_label_is_refused_with_the_nearest(schema: dict[str, Any], wrong: Any) -> None:
    with pytest.raises(InputError, match="is not a label of this endpoint") as caught:
        _judged(schema, right=wrong)
    assert len(caught.value.message) < 200
    assert ("did you mean 'refund'?" if "refunds" in wrong else "known: double_charge, refund, track_order") == caught.value.hint


def test_labels_are_kept_as_the_endpoint_answers_them() -> None:
    assert _judged(right="refund").right == "refund"
    assert _judged(right=["refund"]).right == ["refund"]
    assert _judged(SEVERAL, right=["refund", "double_charge", "refund"]).right == ["refund", "double_charge"]
    assert _judged(SEVERAL, right=[]).right == [], "none of the labels is right"
    with pytest.raises(InputError, match="answers with one"):
        _judged(right=["refund", "double_charge"])


@pytest.mark.parametrize("wrong", [3, {"label": "refund"}, ["refund", 3]])
def test_what_is_no_label_is_refused(wrong: Any) -> None:
    with pytest.raises(InputError, match="not a label or a list of labels"):
        _judged(right=wrong)


def test_where_answers_are_free_text_the_right_one_is_masked() -> None:
    assert _judged({}, right="tell ann@example.com").right == "tell <EMAIL_1>"


def test_saying_nothing_is_refused() -> None:
    for said in ({}, {"thumbs": "sideways"}):
        with pytest.raises(InputError) as caught:
            _judged(**said)
        assert caught.value.hint
