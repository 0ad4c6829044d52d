from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.stages.train.conftest import encoded

from luthier.core import registry
from luthier.core.errors import NotPossible, SpecError
from luthier.core.events import CheckpointRefused, CheckpointWritten, Event
from luthier.core.plan import TrainPlan
from luthier.stages.inference import predict
from luthier.stages.train.fit import fit
from luthier.stages.train.request import FitRequest

QUICK: dict[str, Any] = {"epochs": 6, "batch_tokens": 96, "learning_rate": 2e-3, "head_learning_rate": 2e-2, "dropout": 0.1}


def request(small: Any, checkpoints: Path | None = None, **plan: Any) -> FitRequest:
    fields = {**QUICK, "patience": 0, "checkpoint_s": 1e-9, **plan}
    return FitRequest(
        small.task,
        small.base,
        small.schema,
        TrainPlan(**fields),
        small.train,
        small.validation,
        small.judged,
        checkpoints=checkpoints,
    )


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_identical(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


class Killed(Exception):
    """Stands for SIGKILL inside one process."""


def stopped_after(count: int) -> Any:
    seen = 0

    def emit(event: Event) -> None:
        nonlocal seen
        seen += isinstance(event, CheckpointWritten)
        if seen == count:
            raise Killed

    return emit


@pytest.mark.parametrize(("method", "bar"), [("full", 0.9), ("top", 0.6), ("lora", 0.6), ("head", 0.4), ("contrastive", 0.6)])
def test_every_method_learns(small: Any, method: str, bar: float) -> None:
    faster = {"epochs": 30, "learning_rate": 0.02, "head_learning_rate": 0.05} if method != "full" else {}
    if method == "contrastive":  # the whole trunk learns: at such a rate it would wander
        faster |= {"epochs": 12, "learning_rate": 3e-3}
    result = fit(request(small, method=method, **faster))
    assert result.best_metric >= bar
    assert result.validation_outputs["logits"].shape == (60, 3)
    again = predict(small.task, result.model, small.validation)
    assert np.allclose(again["logits"], result.validation_outputs["logits"], atol=1e-4)


def test_a_checkpoint_of_another_device_and_precision_is_gone_on_from(small: Any, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        fit(replace(request(small, tmp_path, epochs=3, device="cuda"), precision="bf16"), stopped_after(4))
    assert fit(request(small, tmp_path, epochs=3, device="cpu")).resumed_at > 0


@pytest.mark.parametrize(
    "plan",
    [
        {"method": "full"},
        {"method": "full", "average_share": 0.5},
        {"method": "top"},
        {"method": "lora"},
        {"method": "head"},
        {"method": "full", "fitted_head": True},
        {"method": "full", "loss": "focal", "resampling": "balanced"},
        {"method": "contrastive"},
    ],
    ids=["full", "average", "top", "lora", "head", "fitted", "imbalance", "contrastive"],
)
def test_a_killed_training_ends_with_identical_weights(small: Any, tmp_path: Path, plan: dict[str, Any]) -> None:
    plan = {**plan, "epochs": 3}
    whole = fit(request(small, **plan))
    for kill in (1, 7):
        with pytest.raises(Killed):
            fit(request(small, tmp_path / "c", **plan), stopped_after(kill))
    resumed = fit(request(small, tmp_path / "c", **plan))
    assert_identical(weights(whole.model), weights(resumed.model))
    assert whole.curves == resumed.curves
    assert whole.tokens == resumed.tokens
    assert (whole.resumed_at, resumed.resumed_at) == (0, 8)  # seven checkpoints after the first, one a step
    assert resumed.best_metric == whole.best_metric


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "manifest"])
def test_a_damaged_newest_checkpoint_is_passed_over_and_said(small: Any, tmp_path: Path, damage: str) -> None:
    whole = fit(request(small, epochs=3))
    with pytest.raises(Killed):
        fit(request(small, tmp_path, epochs=3), stopped_after(9))
    newest = max(tmp_path.glob("step-*"))
    state = newest / "state.safetensors"
    if damage == "truncate":
        state.write_bytes(state.read_bytes()[:-100])
    elif damage == "flip":
        data = bytearray(state.read_bytes())
        data[-50] ^= 1
        state.write_bytes(bytes(data))
    else:
        (state if damage == "remove" else newest / "manifest.json").unlink()
    events: list[Event] = []
    resumed = fit(request(small, tmp_path, epochs=3), events.append)
    refused = [event for event in events if isinstance(event, CheckpointRefused)]
    assert [Path(event.path).name for event in refused] == [newest.name]
    assert_identical(weights(whole.model), weights(resumed.model))


def test_a_damaged_best_is_noticed_too(small: Any, tmp_path: Path) -> None:
    whole = fit(request(small, epochs=3))
    with pytest.raises(Killed):
        fit(request(small, tmp_path, epochs=3), stopped_after(30))
    for best in tmp_path.glob("best-*/weights.safetensors"):
        best.write_bytes(b"torn")
    resumed = fit(request(small, tmp_path, epochs=3))
    assert_identical(weights(whole.model), weights(resumed.model))


def test_no_pickles_and_only_the_newest_two_are_kept(small: Any, tmp_path: Path) -> None:
    fit(request(small, tmp_path, epochs=2))
    assert len(list(tmp_path.glob("step-*"))) == 2
    assert len(list(tmp_path.glob("best-*"))) <= 2
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".safetensors", ".json"}


def test_checkpoints_of_another_training_are_not_used(small: Any, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        fit(request(small, tmp_path, epochs=3), stopped_after(4))
    other = fit(request(small, tmp_path, epochs=3, learning_rate=1e-3))
    assert_identical(weights(fit(request(small, epochs=3, learning_rate=1e-3)).model), weights(other.model))


def test_early_stopping_keeps_the_best_weights(small: Any) -> None:
    result = fit(request(small, epochs=40, patience=2))
    assert result.stopped_early
    assert result.epochs < 40
    best = max(point["accuracy"] for point in result.curves["epochs"])
    right = [small.schema["labels"].index(example.target) for example in small.judged]
    assert (result.validation_outputs["logits"].argmax(1) == right).mean() == pytest.approx(best)


def test_frozen_layers_stay_as_they_were(small: Any) -> None:
    before = weights(small.task.load(small.base, small.schema))
    for method in ("top", "head"):
        after = weights(fit(request(small, method=method, epochs=1)).model)
        frozen = [name for name in after if "embeddings" in name or "layer.0." in name or (method == "head" and "encoder" in name)]
        assert frozen
        for name in frozen:
            assert torch.equal(before[name], after[name]), name


def test_top_refuses_to_freeze_nothing(small: Any) -> None:
    with pytest.raises(NotPossible, match="top_layers is 3, but the model has 3 layers"):
        fit(request(small, method="top", top_layers=3))


def test_lora_refuses_unknown_layers(small: Any) -> None:
    with pytest.raises(NotPossible, match="no linear layer named nowhere"):
        fit(request(small, method="lora", lora_targets=["nowhere"]))


@pytest.mark.parametrize("method", ["full", "head"])
def test_an_unknown_metric_is_said_before_anything_is_trained(small: Any, method: str) -> None:
    events: list[Event] = []
    with pytest.raises(SpecError, match=r"train\.metric: unknown metric 'marco_f1'") as caught:
        fit(request(small, method=method, metric="marco_f1"), events.append)
    assert "macro_f1" in caught.value.hint
    assert events == []


def test_a_metric_where_lower_is_better_is_reported_as_measured(small: Any) -> None:
    result = fit(request(small, epochs=3, metric="nll"))
    measured = [point["nll"] for point in result.curves["epochs"]]
    assert result.best_metric == min(measured) > 0


def test_without_validation_there_is_no_best_metric(small: Any) -> None:
    alone = replace(request(small, epochs=1), validation=(), judged=())
    assert fit(alone).best_metric is None
    assert fit(replace(request(small, epochs=1), judged=())).best_metric is None


def test_a_loss_that_is_no_number_ends_the_training(small: Any) -> None:
    with pytest.raises(NotPossible, match=r"the loss is not a number at step \d") as caught:
        fit(request(small, epochs=2, learning_rate=1e30, head_learning_rate=1e30, max_grad_norm=0.0))
    assert "lower train.learning_rate" in caught.value.hint


def test_several_labels(base: Path) -> None:
    small = encoded(base, several=True)
    result = fit(request(small, epochs=10, metric="macro_f1"))
    assert result.best_metric > 0.8


def test_other_seeds_and_from_scratch_differ_and_steps_can_be_limited(small: Any) -> None:
    plain = request(small, epochs=1)
    one = weights(fit(plain).model)
    assert not torch.equal(one["head.weight"], weights(fit(replace(plain, seed=3)).model)["head.weight"])
    scratch = fit(replace(plain, pretrained=False, max_steps=3))
    assert scratch.steps == 3
    assert registry.get("methods", "full").cut(plain.plan, 3) == 0
