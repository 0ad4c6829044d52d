"""Made conversations: the same each time, answered in the words of their intent, naming only what the customer named."""

from __future__ import annotations

from itertools import islice
from random import Random

from luthier.catalog import made, support_conversations, support_messages
from luthier.core.types import Place
from luthier.tasks.chat import plugin as chat


def test_the_same_rows_each_time_and_a_longer_set_begins_with_the_shorter() -> None:
    some = list(made.make("support-conversations", 30, 7))
    assert list(islice(made.make("support-conversations", 60, 7), 20)) == some[:20]
    assert list(made.make("support-conversations", 30, 8)) != some


def test_every_row_is_a_conversation_that_a_chat_model_learns_from() -> None:
    rows = list(made.make("support-conversations", 300, 7))
    for number, row in enumerate(rows):
        assert chat.example(row, Place("made", number)).target["content"].strip()
        roles = [message["role"] for message in row["messages"]]
        assert roles[roles[0] == "system" :] == ["user", "assistant"] * (len(roles) // 2)
    assert {row["intent"] for row in rows} == {*support_messages.intents(), "out_of_scope"}
    assert len({row["conversation_id"] for row in rows}) == len(rows)


def test_an_answer_names_only_what_was_named() -> None:
    for intent in [*support_messages.intents(), "out_of_scope"]:
        for seed in range(40):
            plain = support_conversations.answer(intent, {}, Random(seed))
            assert "{" not in plain
            assert "<" not in plain
            told = support_conversations.answer(intent, {"order_number": "ORD-1", "product": "kettle"}, Random(seed))
            assert told
    named = {support_conversations.answer("order_status", {"order_number": "ORD-77"}, Random(seed)) for seed in range(40)}
    assert any("ORD-77" in text for text in named)


def test_answers_of_different_intents_differ() -> None:
    said = {
        intent: {support_conversations.answer(intent, {}, Random(seed), first=False) for seed in range(60)}
        for intent in support_messages.intents()
    }
    for intent, texts in said.items():
        others = set().union(*(other for name, other in said.items() if name != intent))
        assert not texts & others, intent
