"""What captions are judged by, against published code and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from luthier.core import registry
from luthier.core.ports import Judged
from luthier.core.types import Example, Prediction
from luthier.core.writing import as_arrays
from luthier.metrics.cider_d import cider_d

REFERENCES = ["a red shirt on a table", "a striped blue mug in front of a wall", "photo of a green chair seen from the front",
              "a red dress with dots on the grass"]  # fmt: skip
WRITTEN = ["a red shirt on the grass", "a blue mug in front of a wall", "a chair", "a red dress with dots on the grass on the grass"]


def _judged(rows: list[tuple[str, str, dict[str, Any]]]) -> Judged:
    examples = [Example(str(n), {}, wanted, columns=columns) for n, (wanted, _, columns) in enumerate(rows)]
    texts = [written for _, written, _ in rows]
    return Judged(examples, [Prediction(one.id, text, 1.0) for one, text in zip(examples, texts, strict=True)], as_arrays(texts), {})


def _scores(metric: str, judged: Judged) -> dict[str, float]:
    return {score.name: score.value for score in registry.get("metrics", metric).compute(judged)}


def test_cider_is_that_of_pycocoevalcap() -> None:
    """Its figures for these captions, by its 1.2 (``Cider().compute_score``)."""
    found = cider_d([one.split() for one in WRITTEN], [one.split() for one in REFERENCES])
    assert found == pytest.approx([4.837056628966427, 7.855800313522194, 0.5278913721080317, 6.469848996416255])
    judged = _judged([(wanted, written, {}) for wanted, written in zip(REFERENCES, WRITTEN, strict=True)])
    assert _scores("cider-d", judged) == pytest.approx({"cider_d": 4.922649327753227})


def test_bleu_counts_n_grams_up_to_its_order() -> None:
    found = _scores("bleu-n", _judged([("The red cap on a table", "the red cap on a table", {})]))
    assert found == pytest.approx({f"bleu_{order}": 1.0 for order in (1, 2, 3, 4)})
    found = _scores("bleu-n", _judged([("a b c d", "a c b d", {})]))
    assert found == pytest.approx({"bleu_1": 1.0, "bleu_2": 0.0, "bleu_3": 0.0, "bleu_4": 0.0})


SHIRT = {"article": "shirt", "colour": "grey", "pattern": "striped"}


@pytest.mark.parametrize(
    ("written", "hits", "named", "wanted"),
    [
        ("a gray shirt with stripes", 3, 3, 3),
        ("a grey cap with stripes", 2, 3, 3),
        ("a shirt", 1, 1, 3),
        ("a red and grey shirt with stripes", 3, 4, 3),
        ("something nice", 0, 0, 3),
    ],
)
def test_attributes_are_counted_by_word(written: str, hits: int, named: int, wanted: int) -> None:
    rows = [("a striped grey shirt", written, SHIRT), ("a cap", "a cap", {"article": "cap"})]
    found = _scores("caption-attributes", _judged(rows))
    assert found["attribute_precision"] == pytest.approx((hits + 1) / (named + 1))
    assert found["attribute_recall"] == pytest.approx((hits + 1) / (wanted + 1))
    assert found["attribute_f1"] == pytest.approx(2 * (hits + 1) / (named + wanted + 2))


def test_what_the_reference_does_not_name_need_not_be_named_but_must_be_right() -> None:
    judged = _judged([("a shirt", "a shirt", SHIRT), ("a shirt", "a grey shirt", SHIRT), ("a shirt", "a red shirt", SHIRT)])
    found = _scores("caption-attributes", judged)
    assert found["attribute_precision"] == pytest.approx(4 / 5)
    assert found["article_accuracy"] == 1.0


def test_without_columns_the_reference_says_what_is_right() -> None:
    found = _scores("caption-attributes", _judged([("a red cap", "a red cap", {}), ("a blue cap", "a red cap", {})]))
    assert found["attribute_f1"] == pytest.approx(0.5)


def test_intervals_come_from_the_same_counts() -> None:
    rows = [("a striped grey shirt", text, SHIRT) for text in ("a grey shirt with stripes", "a red shirt", "a cap")]
    metric, judged = registry.get("metrics", "caption-attributes"), _judged(rows)
    drawn = metric.resample(judged, np.ones((1, len(rows))))
    assert {name: float(values[0]) for name, values in drawn.items()} == pytest.approx(_scores("caption-attributes", judged))
