"""METEOR, slots and toxicity of written text: values worked out by hand."""

from __future__ import annotations

import pytest

from luthier.core import registry
from luthier.core.ports import Judged
from luthier.core.types import Example
from luthier.core.writing import as_arrays
from luthier.tasks.chat import plugin as chat


def _score(metric: str, *rows: tuple[str, str | None]) -> float:
    examples = [Example(str(n), {"text": "x"}, wanted) for n, (wanted, _) in enumerate(rows)]
    outputs = as_arrays([written for _, written in rows])
    judged = Judged(examples, chat.decode([one.id for one in examples], outputs, {}, {}), outputs, {})
    (score,) = registry.get("metrics", metric).compute(judged)
    assert score.name == metric
    return float(score.value)


def test_meteor_by_hand() -> None:
    """All n words match in one chunk: 1 - 0.5 (1 / n)^3; a stem matches, a synonym does not."""
    assert _score("meteor", ("a b c d", "a b c d")) == pytest.approx(1 - 0.5 / 64)
    assert _score("meteor", ("cats", "cat")) == pytest.approx(0.5)
    assert _score("meteor", ("buy", "purchase")) == 0
    assert _score("meteor", ("a", "")) == 0


def test_slots_filled() -> None:
    assert _score("slots", ("Order ORD-77 for <EMAIL_1>.", "ord-77 is late")) == 0.5
    assert _score("slots", ("No value.", "7"), ("It is 8.", "8."), ("9", None)) == 1.0


def test_toxicity_counts_whole_words() -> None:
    assert _score("toxicity", ("", "You IDIOT."), ("", "Scunthorpe is a town."), ("", None)) == 0.5
    assert _score("toxicity", ("", 'You wrote "shut up".')) == 1.0
