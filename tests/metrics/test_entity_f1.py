"""Entity F1 against seqeval, on spans that a seeded model got partly wrong; partial credit against values worked out by hand."""

from __future__ import annotations

import random

import pytest

from luthier.core.ports import Judged
from luthier.core.tags import entities_of, runs_of, tag_names
from luthier.core.types import Example, Prediction
from luthier.metrics.entity_f1 import plugin

TAGS = tag_names(("city", "date", "name"), "BIO")


def _judged(right: list[list[str]], found: list[list[str]]) -> Judged:
    def spans(tags: list[str]) -> dict[str, object]:
        return {"entities": entities_of(runs_of(tags), [(3 * n, 3 * n + 2) for n in range(len(tags))])}

    examples = [Example(str(n), {}, spans(tags)) for n, tags in enumerate(right)]
    return Judged(examples, [Prediction(str(n), spans(tags), 1.0) for n, tags in enumerate(found)], {}, {})


def _tables(seed: int, wrong: float) -> tuple[list[list[str]], list[list[str]]]:
    chance = random.Random(seed)
    right = [[chance.choice(TAGS) for _ in range(chance.randint(1, 14))] for _ in range(120)]
    return right, [[chance.choice(TAGS) if chance.random() < wrong else tag for tag in tags] for tags in right]


@pytest.mark.parametrize(("seed", "wrong"), [(1, 0.1), (2, 0.4), (3, 0.9)])
def test_as_seqeval(seed: int, wrong: float) -> None:
    from seqeval.metrics import classification_report, f1_score, precision_score, recall_score

    right, found = _tables(seed, wrong)
    scores = {score.name: score for score in plugin.compute(_judged(right, found))}
    assert scores["entity_f1"].value == pytest.approx(f1_score(right, found))
    assert scores["entity_precision"].value == pytest.approx(precision_score(right, found))
    assert scores["entity_recall"].value == pytest.approx(recall_score(right, found))
    report = classification_report(right, found, output_dict=True)
    assert scores["entity_macro_f1"].value == pytest.approx(report["macro avg"]["f1-score"])
    assert scores["entity_f1"].parts == {kind: pytest.approx(report[kind]["f1-score"]) for kind in ("city", "date", "name")}


def test_partial_credit() -> None:
    """One exact, one that overlaps (half), one of another kind (none): 1.5 of 3 spans on both sides."""
    right = [["B-city", "I-city", "O", "B-date", "B-name"]]
    found = [["B-city", "O", "O", "B-date", "B-city"]]
    scores = {score.name: score.value for score in plugin.compute(_judged(right, found))}
    assert scores["entity_f1"] == pytest.approx(1 / 3)
    assert scores["entity_partial_f1"] == pytest.approx(0.5)


def test_how_sure_a_span_is_said_to_be() -> None:
    judged = _judged([["B-city", "O"], ["B-city", "O"]], [["B-city", "O"], ["O", "B-city"]])
    sure = [
        Prediction(one.id, one.output, 1.0, details={"entities": [{**span, "confidence": 0.9} for span in one.output["entities"]]})
        for one in judged.predictions
    ]
    ece = plugin.compute(Judged(judged.examples, sure, {}, {}))[-1]
    assert ece.name == "entity_ece"
    assert ece.value == pytest.approx(0.4)
