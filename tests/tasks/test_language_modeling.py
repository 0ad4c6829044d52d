"""Language modeling: what is read, what is learned, and that perplexity is counted over tokens, not over rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luthier.core import registry
from luthier.core.errors import InputError, NotPossible, RowError
from luthier.core.plan import TrainPlan
from luthier.core.ports import Judged
from luthier.core.types import Place
from luthier.stages.train.fit import fit
from luthier.stages.train.request import FitRequest
from luthier.testing import made

TASK: Any = registry.get("tasks", "language-modeling")
PERPLEXITY: Any = registry.get("metrics", "perplexity")
TEXTS = ["where is my delivery please", "my refund is still slow today thanks", "hello again broken"]


def _items(most: int = 32, texts: list[str] = TEXTS) -> tuple[list[Any], list[Any], dict[str, Any]]:
    base, schema = made.base(architecture="decoder"), {"max_tokens": most}
    rows = [TASK.example({"text": text, "source": f"s{number % 2}"}, Place("made.jsonl", number)) for number, text in enumerate(texts)]
    return rows, TASK.encode(rows, TASK.processor(base, schema), schema), schema


def test_a_text_ends_with_its_end_and_is_cut_where_the_model_ends() -> None:
    _, items, _ = _items()
    end = TASK.processor(made.base(architecture="decoder"), {}).token_to_id("</s>")
    assert [item["input_ids"][-1] for item in items] == [end] * 3
    assert [int(item["bytes"][0]) for item in items] == [len(text) for text in TEXTS]
    _, short, _ = _items(3)
    assert [len(item["input_ids"]) for item in short] == [3, 3, 3]
    assert [int(item["bytes"][0]) for item in short] == [len("where is my"), len("my refund is"), len("hello again broken")]


@pytest.mark.parametrize("value", [None, "", "  ", 7, "half \ud83d"])
def test_rows_without_text_are_refused(value: Any) -> None:
    with pytest.raises(RowError, match="text"):
        TASK.example({"text": value}, Place("made.jsonl", 3))


def test_no_rows_and_no_texts_are_refused() -> None:
    with pytest.raises(InputError, match="no row"):
        TASK.schema([])
    with pytest.raises(InputError, match="text"):
        TASK.request({"texts": ["", "a"]})


def test_perplexity_counts_tokens_and_bytes_by_source() -> None:
    rows, _, schema = _items()
    outputs = {
        "loss_sum": np.array([4.0, 1.0, 3.0]),
        "predicted": np.array([4.0, 2.0, 2.0]),
        "correct": np.array([1.0, 2.0, 0.0]),
        "bytes": np.array([[10], [10], [20]]),
    }
    judged = Judged(rows, TASK.decode([row.id for row in rows], outputs, schema, {}), outputs, schema)
    found = {score.name: score for score in PERPLEXITY.compute(judged)}
    assert found["perplexity"].value == pytest.approx(np.exp(8 / 8))
    assert found["perplexity"].parts == {"s0": pytest.approx(np.exp(7 / 6)), "s1": pytest.approx(np.exp(0.5))}
    assert found["bits_per_byte"].value == pytest.approx(8 / np.log(2) / 40)
    assert found["token_accuracy"].value == pytest.approx(3 / 8)
    with pytest.raises(NotPossible, match="losses of tokens"):
        PERPLEXITY.compute(replace(judged, outputs={"logits": np.zeros((3, 2))}))


def test_it_learns_and_a_killed_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    import torch

    rows, items, schema = _items(texts=TEXTS * 8)
    plan = TrainPlan(method="full", fitted_head=False, epochs=12, learning_rate=5e-3, batch_tokens=64, dropout=0.0, patience=0)
    request = FitRequest(TASK, made.base(architecture="decoder"), schema, plan, items, items[:3], rows[:3])
    whole = fit(request)
    assert whole.metric == "perplexity"
    curve = [point["perplexity"] for point in whole.curves["epochs"]]
    assert curve[-1] < curve[0] / 3
    cut = replace(request, checkpoints=tmp_path / "checkpoints", plan=plan.model_copy(update={"checkpoint_s": 1e-9}))
    seen = 0

    def dying(event: Any) -> None:
        nonlocal seen
        seen += event.name == "checkpoint.written"
        if seen == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(cut, dying)
    again = fit(cut)
    assert again.resumed_at > 0
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name
