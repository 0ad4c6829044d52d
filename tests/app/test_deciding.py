"""Which task a file asks for, rule by rule, and what is said when nothing fits."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.app.deciding import RULES, decide
from luthier.catalog import cards
from luthier.core.errors import SpecError

BERT, GPT = cards.find("all-minilm-l6-v2"), next(card for card in cards.list_cards() if card.architecture == "decoder")
LABELS: dict[str, Any] = {"kind": "chat", "rows": 100, "reply": "labels", "labels": {"a": 50, "b": 50}}


def test_chats_with_a_closed_set_of_replies_train_a_classifier() -> None:
    decision = decide(LABELS, BERT)
    assert (decision.task, decision.data) == ("text-classification", {"format": "openai-chat"})
    assert "2 labels in 100 rows" in decision.why


def test_prompt_and_completion_with_labels_are_read_by_their_own_names() -> None:
    decision = decide(LABELS | {"kind": "completion"}, BERT)
    assert decision.data == {"format": "jsonl", "map": {"text": "prompt", "label": "completion"}}


def test_free_replies_and_any_reply_on_a_decoder_train_a_writer() -> None:
    free = decide(LABELS | {"reply": "text"}, GPT)
    assert (free.task, free.data) == ("chat", {"format": "jsonl"})
    assert decide(LABELS, GPT).task == "chat"
    assert decide(LABELS | {"kind": "completion"}, GPT).data == {"format": "openai-completion"}


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("completion", {"format": "jsonl", "map": {"text": "prompt", "summary": "completion"}}),
        ("chat", {"format": "openai-chat", "map": {"summary": "label"}}),
        ("table", {}),
    ],
)
def test_what_is_asked_and_answered_become_the_named_task_s_columns(kind: str, data: dict[str, Any]) -> None:
    assert decide(LABELS | {"kind": kind}, GPT, wanted="summarization").data == data


def test_a_table_trains_a_classifier() -> None:
    assert decide({"kind": "table", "rows": 10}, BERT).task == "text-classification"


@pytest.mark.parametrize(
    ("facts", "card", "method", "path", "said"),
    [
        (LABELS | {"reply": "text"}, BERT, "supervised", "model", "free text, not a small closed set of labels: chat needs decoder"),
        ({"kind": "table"}, GPT, "supervised", "model", "needs encoder"),
        ({"kind": "preference"}, BERT, "dpo", "model", "the file holds preference pairs: preference needs decoder"),
        (LABELS, GPT, "dpo", "method.type", "dpo learns from preference pairs, and the file holds chats"),
        ({"kind": "reinforcement"}, GPT, "dpo", "method.type", "reinforcement is not in this version"),
        ({"kind": "preference"}, BERT, "supervised", "method.type", "dpo"),
        ({"kind": "reinforcement"}, BERT, "reinforcement", "method.type", "reinforcement"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(facts: Any, card: Any, method: str, path: str, said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        decide(facts, card, method=method)
    assert caught.value.path == path
    assert caught.value.hint


def test_preference_pairs_and_their_method_train_a_writer() -> None:
    decision = decide({"kind": "preference"}, GPT, method="dpo")
    assert (decision.task, decision.data) == ("preference", {"format": "openai-preference"})
    assert decide({"kind": "preference"}, GPT, method="dpo", wanted="preference") == decision
    with pytest.raises(SpecError, match="'chat' does not learn from preference pairs"):
        decide({"kind": "preference"}, GPT, method="dpo", wanted="chat")


def test_a_task_can_be_named(monkeypatch: Any) -> None:
    assert decide(LABELS, BERT, wanted="text-classification").why == "the request names it"
    with pytest.raises(SpecError, match="there is no task 'poetry'"):
        decide(LABELS, BERT, wanted="poetry")


def test_rows_without_a_question_train_no_classifier() -> None:
    with pytest.raises(SpecError, match="3 rows have no text of the user"):
        decide(LABELS | {"reply": "text", "unasked_rows": 3}, BERT, wanted="text-classification")


def test_the_rules_are_written_down() -> None:
    assert len(RULES) == 5
