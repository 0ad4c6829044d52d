"""Preference tuning in the loop: the start model is asked once, a kill changes nothing, pieces add up, what is saved is a chat model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import decoders
from tests.stages.train.test_fit import Killed, assert_identical, stopped_after, weights
from tests.stages.train.test_gradients import _assert_same, _gradients

from luthier.core import registry
from luthier.core.plan import TrainPlan
from luthier.core.types import Place
from luthier.stages.inference import predict
from luthier.stages.train import reference
from luthier.stages.train.fit import fit
from luthier.stages.train.reference import compared
from luthier.stages.train.request import FitRequest, prepare_model
from luthier.testing import made

TASK = registry.get("tasks", "preference")


def _asked(rows: int, tmp_path: Path | None = None, **plan: Any) -> FitRequest:
    base = decoders.decoder("qwen2")
    some = [{**row, "messages": row["messages"][:1]} for row in made.rows(rows)]
    examples = [TASK.example(row, Place("made.csv", number)) for number, row in enumerate(some, 2)]
    fields = {"epochs": 2, "learning_rate": 2e-3, "dropout": 0.0, "patience": 0, "checkpoint_s": 1e-9, "batch_tokens": 256, **plan}
    made_plan = TrainPlan(**fields)
    schema = TASK.fitted({**TASK.schema([one.target for one in examples]), "max_tokens": 48}, made_plan)
    items, held = TASK.encode(examples, TASK.processor(base, schema), schema), rows // 3
    places = {"checkpoints": tmp_path / "c", "features": tmp_path / "features"} if tmp_path else {}
    return FitRequest(TASK, base, schema, made_plan, items[held:], items[:held], examples[:held], **places)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_killed_training_ends_with_identical_weights_and_asks_the_start_model_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    whole = fit(_asked(24, method=method))
    with pytest.raises(Killed):
        fit(_asked(24, tmp_path, method=method), stopped_after(2))
    monkeypatch.setattr(reference, "predict", lambda *_: pytest.fail("the start model was asked again"))
    resumed = fit(_asked(24, tmp_path, method=method))
    assert resumed.resumed_at == 2
    assert_identical(weights(whole.model), weights(resumed.model))
    assert whole.best_metric == resumed.best_metric
    assert set(whole.curves["epochs"][0]) == {"step", "epoch", "preference_accuracy", "validation_loss"}


def test_it_learns_and_the_reference_is_the_model_before() -> None:
    asked = _asked(45, epochs=12, method="full", learning_rate=3e-3)
    before = predict(TASK, prepare_model(asked), asked.validation)
    result = fit(asked)
    outputs = result.validation_outputs
    np.testing.assert_allclose(outputs["reference"], before["rejected_loss_sum"] - before["loss_sum"], rtol=1e-4, atol=1e-4)
    margins = outputs["rejected_loss_sum"] - outputs["loss_sum"] - outputs["reference"]
    assert result.best_metric == np.mean(margins > 0) >= 0.9
    assert result.curves["epochs"][0]["validation_loss"] < np.log(2)


def test_the_margin_can_choose_the_checkpoint() -> None:
    result = fit(_asked(15, epochs=1, metric="reward_margin"))
    assert result.best_metric == result.curves["epochs"][0]["reward_margin"] != 0


def test_a_batch_of_pairs_in_pieces_has_the_same_gradients() -> None:
    asked = _asked(15)
    asked = replace(asked, train=compared(TASK, prepare_model(asked).eval(), asked.train))
    _assert_same(_gradients(asked), _gradients(replace(asked, plan=asked.plan.model_copy(update={"accumulation": 3}))))


def test_what_is_saved_is_a_chat_model_and_tuning_goes_on_from_it(tmp_path: Path) -> None:
    asked = _asked(15, epochs=1)
    model = fit(asked).model
    TASK.save(model, tmp_path)
    (tmp_path / "tokenizer.json").write_bytes((asked.base / "tokenizer.json").read_bytes())
    chat = registry.get("tasks", "chat").load(tmp_path, {}).eval()
    assert_identical(weights(model), weights(chat))
    start = replace(asked, base=tmp_path, plan=asked.plan.model_copy(update={"epochs": 1.0}))
    known = compared(TASK, prepare_model(start).eval(), start.train)
    said = predict(TASK, model, start.train)
    reference_now = np.array([item["reference"][0] for item in known])
    np.testing.assert_allclose(reference_now, said["rejected_loss_sum"] - said["loss_sum"], rtol=1e-4, atol=1e-4)
