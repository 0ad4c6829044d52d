"""What is wrong with a preference pair is said with the field, as it stands in the file, and the remedy."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.core import preference_rules
from luthier.core.errors import RowError

ASKED = [{"role": "user", "content": "where is my order?"}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "track", "arguments": "{}"}}


def said(text: str, **more: Any) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": text, **more}]


def row(**changed: Any) -> dict[str, Any]:
    found = {"input": {"messages": ASKED}, "preferred_output": said("on its way"), "non_preferred_output": said("no idea")} | changed
    return {key: value for key, value in found.items() if value is not ...}


def test_a_good_pair_in_both_spellings() -> None:
    pair = preference_rules.row(row())
    assert [reply.text for reply in (*pair.asked, *pair.better, *pair.worse)] == ["where is my order?", "on its way", "no idea"]
    other = row(
        preferred_output=..., preferred_completion=said("on its way"), non_preferred_output=..., non_preferred_completion=said("no")
    )
    assert preference_rules.row(other).worse[0].text == "no"
    assert preference_rules.answers(other) == (said("on its way"), said("no"))
    calls = row(
        preferred_output=[{"role": "assistant", "tool_calls": [CALL]}], non_preferred_output=[{"role": "assistant", "content": "x"}]
    )
    assert preference_rules.row(calls).better[0].text == ""


@pytest.mark.parametrize(
    ("changed", "field", "reason", "remedy"),
    [
        ({"preferred_output": ...}, "preferred_output", "is missing", "one or more messages"),
        ({"non_preferred_output": None}, "non_preferred_output", "is missing", "one or more messages"),
        ({"preferred_completion": said("a")}, "preferred_output", "beside preferred_completion", "one or more messages"),
        ({"non_preferred_output": said(" on its way ")}, "non_preferred_output", "the same as preferred_output", "two different answers"),
        ({"input": {"messages": said("hello")}}, "input.messages", "nobody says anything", "role 'user'"),
        ({"input": {"messages": [{"role": "system", "content": "be kind"}]}}, "input.messages", "nobody says anything", "role 'user'"),
        ({"input": {}}, "input.messages", "is missing", "write"),
        ({"input": ASKED}, "input", "no object", "messages"),
        ({"preferred_output": said("")}, "preferred_output[0].content", "empty", "said"),
        ({"preferred_output": ASKED}, "preferred_output[0].role", "'user'", "assistant"),
        ({"preferred_output": said("ok", weight=0)}, "preferred_output", "weight 0", "leave the weight out"),
        ({"prefered_output": said("x")}, "prefered_output", "no known key", "'preferred_output'"),
    ],
)
def test_what_cannot_be_learned_from(changed: dict[str, Any], field: str, reason: str, remedy: str) -> None:
    with pytest.raises(RowError) as caught:
        preference_rules.row(row(**changed))
    assert caught.value.field == field
    assert reason in caught.value.reason
    assert remedy in caught.value.remedy


def test_calls_with_other_ids_say_the_same() -> None:
    one, other = ([{"role": "assistant", "tool_calls": [{**CALL, "id": identity}]}] for identity in ("call_1", "call_2"))
    with pytest.raises(RowError, match="says the same"):
        preference_rules.row(row(preferred_output=one, non_preferred_output=other))
