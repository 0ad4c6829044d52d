"""Metrics of written text: published and hand-made values, and rows that nothing was written for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from luthier.core import registry
from luthier.core.ports import Judged
from luthier.core.types import Example
from luthier.core.writing import as_arrays
from luthier.tasks.chat import plugin as chat

METRICS = ("rouge", "bleu", "text-length", "repetition", "faithfulness")


def _judged(rows: list[tuple[str, object, str | None]]) -> Judged:
    examples = [Example(str(n), {"text": source}, target) for n, (source, target, _) in enumerate(rows)]
    outputs = as_arrays([written for _, _, written in rows])
    return Judged(examples, chat.decode([one.id for one in examples], outputs, {}, {}), outputs, {})


def _scores(metric: str, judged: Judged) -> dict[str, float]:
    return {score.name: score.value for score in registry.get("metrics", metric).compute(judged)}


def test_rouge_of_the_librarys_own_example() -> None:
    """https://github.com/google-research/google-research/tree/master/rouge: testing_one / testing two."""
    found = _scores("rouge", _judged([("", "testing one two", "testing")]))
    assert found == pytest.approx({"rouge_1": 0.5, "rouge_2": 0.0, "rouge_l": 0.5})


def test_rouge_stems_and_forgets_case() -> None:
    found = _scores("rouge", _judged([("", "The cats were running", "the cat was run")]))
    assert found["rouge_1"] == pytest.approx(0.75)


def test_bleu_of_a_text_like_its_reference_is_one_and_of_a_strange_one_nought() -> None:
    same = "the quick brown fox jumps over the lazy dog"
    assert _scores("bleu", _judged([("", same, same)])) == pytest.approx({"bleu": 1.0, "chrf": 1.0})
    assert _scores("bleu", _judged([("", same, "xyz")]))["bleu"] == pytest.approx(0.0, abs=1e-6)


def test_messages_are_references_too() -> None:
    assert _scores("rouge", _judged([("", {"role": "assistant", "content": "on its way"}, "on its way")]))["rouge_l"] == 1.0


def test_repetition_sees_loops() -> None:
    assert _scores("repetition", _judged([("", "a", "the fee is due the fee is due the fee is due")])) == pytest.approx(
        {"repetition": 1 - 4 / 10, "loops": 1.0}
    )
    assert _scores("repetition", _judged([("", "a", "every word here is new")])) == {"repetition": 0.0, "loops": 0.0}


@pytest.mark.parametrize(
    ("source", "text", "wrong"),
    [
        ("Pay $1,000.00 by May 4.", "You pay 1000 by May 4.", set()),
        ("Pay 100 by May 4.", "You pay 200.", {"invented_numbers"}),
        ("The Tenant pays.", "The Tenant pays Smith.", {"invented_names"}),
        ("The tenant pays.", "The tenant does not pay.", {"invented_negations"}),
        ("The tenant shall not pay.", "They don't pay.", set()),
        ("No refund.", "Nothing is paid back. Everyone loses.", set()),
    ],
)
def test_faithfulness_sees_what_the_source_does_not_say(source: str, text: str, wrong: set[str]) -> None:
    found = _scores("faithfulness", _judged([(source, "x", text)]))
    assert {name for name in found if name != "faithful" and found[name]} == wrong
    assert found["faithful"] == float(not wrong)


def test_lengths() -> None:
    assert _scores("text-length", _judged([("one two three four", "a b", "c")])) == {"words": 1.0, "length_ratio": 0.5, "compression": 4.0}


@pytest.mark.parametrize("metric", METRICS)
def test_rows_that_nothing_was_written_for_do_not_count(metric: str) -> None:
    rows: list[tuple[str, object, str | None]] = [("The fee is 5.", "the fee is five", "a fee of 7"), ("No.", "no", "no no no no no no")]
    assert _scores(metric, _judged(rows)) == _scores(metric, _judged([*rows, ("x", "y", None)]))
    plugin = registry.get("metrics", metric)
    if hasattr(plugin, "by_row"):
        values = plugin.by_row(_judged([*rows, ("x", "y", None)]))
        assert all(np.isnan(one[2]) and not np.isnan(one[:2]).any() for one in values.values())


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("text", ["", "...", "größe 東京", "\0"])
def test_odd_texts_have_numbers_too(metric: str, text: str) -> None:
    assert all(math.isfinite(value) for value in _scores(metric, _judged([(text, text, text)])).values())
    assert all(math.isfinite(value) for value in _scores(metric, _judged([("a", "b", None)])).values())
