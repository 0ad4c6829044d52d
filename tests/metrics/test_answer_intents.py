"""The nearest wanted answer says which intent an answer is for; values must come from somewhere."""

from __future__ import annotations

from luthier.core.ports import Judged
from luthier.core.types import Example
from luthier.core.writing import as_arrays
from luthier.metrics.answer_intents import plugin
from luthier.tasks.chat import plugin as chat

WANTED = {
    "refund": "A refund takes five days after we got the goods back.",
    "login": "Choose Forgot password on the sign-in page.",
    "hours": "Our shops are open from nine to six.",
}


def _judged(rows: list[tuple[str, str, str | None]]) -> Judged:
    examples = [
        Example(
            str(n),
            {"messages": [{"role": "user", "content": asked}]},
            {"role": "assistant", "content": WANTED.get(intent, "")},
            columns={"intent": intent} if intent else {},
        )
        for n, (intent, asked, _) in enumerate(rows)
    ]
    outputs = as_arrays([written for _, _, written in rows])
    return Judged(examples, chat.decode([one.id for one in examples], outputs, {}, {}), outputs, {})


def _scores(rows: list[tuple[str, str, str | None]]) -> dict[str, float]:
    return {score.name: score.value for score in plugin.compute(_judged(rows))}


def test_right_and_wrong_intents() -> None:
    rows: list[tuple[str, str, str | None]] = [
        ("refund", "where is my money", "The refund takes five days."),
        ("login", "cannot get in", "Our shops are open from nine to six."),
        ("hours", "when open", "whales sing"),
        ("hours", "when open", None),
    ]
    assert _scores(rows) == {"right_intent": 1 / 3, "invented_slots": 0.0}
    found = plugin.compute(_judged(rows))[0]
    assert found.parts == {"refund": 1.0, "login": 0.0, "hours": 0.0}


def test_values_must_have_been_named() -> None:
    def invented(asked: str, written: str) -> float:
        return _scores([("refund", asked, written)])["invented_slots"]

    assert invented("order ORD-77 is late", "Order ORD-77 is on its way.") == 0
    assert invented("order ORD-77 is late", "Order ORD-78 is on its way.") == 1
    assert invented("my mail is <EMAIL_1>", "We wrote to <EMAIL_1>.") == 0
    assert invented("hello", "We wrote to <EMAIL_1>.") == 1
    assert invented("hello", "Write to help@shop.com.") == 1
    assert invented("hello", "Call {{Customer Support Phone Number}}.") == 1
    assert invented("hello", "It takes five days.") == 0


def test_rows_without_an_intent_are_judged_on_values_alone() -> None:
    assert _scores([("", "hello 7", "seven is 7")]) == {"right_intent": 0.0, "invented_slots": 0.0}
    assert _scores([("", "hello", None)]) == {"right_intent": 0.0, "invented_slots": 0.0}
