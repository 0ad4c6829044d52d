"""From a spec to a plan: everything has an origin, and what cannot work is refused before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from luthier.app.planning import make_plan
from luthier.app.runs import run_id
from luthier.app.service import Service
from luthier.catalog import cards, places
from luthier.core.errors import InputError, LuthierError, NotPossible, SpecError, UnknownName
from luthier.core.plan import Plan
from luthier.core.spec import SECTIONS, make_spec

GIB = 2**30


def _free(monkeypatch: pytest.MonkeyPatch, size_bytes: float) -> None:
    memory = SimpleNamespace(available=size_bytes, total=1024 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)


def test_every_value_says_where_it_came_from() -> None:
    plan = make_plan(make_spec({"train": {"method": "head", "effort": "quick", "epochs": 3}, "evaluate": {"bars": {"accuracy": 0.5}}}))
    assert plan.origins.keys() == {f"{section}.{name}" for section, model in SECTIONS.items() for name in model.model_fields}
    assert plan.train.epochs == 3
    assert plan.origins["train.epochs"] == "recipe"
    assert plan.origins["evaluate.bars"] == "recipe"
    assert plan.train.head_learning_rate == 0.02
    assert plan.origins["train.head_learning_rate"] == "method head, effort quick"
    assert plan.prepare.seed == 13
    assert plan.origins["prepare.seed"] == "default"


def test_texts_without_labels_must_be_there_and_have_an_encoder_to_read_them() -> None:
    with pytest.raises(InputError, match=r"nowhere.csv: there is no such file"):
        make_plan(make_spec({"train": {"unlabelled": "nowhere.csv"}}))
    with pytest.raises(SpecError, match="language-modeling has no encoder"):
        make_plan(make_spec({"task": "language-modeling", "train": {"added_tokens": 5}}))


def test_effort_is_a_dial_of_the_method() -> None:
    quick, best = (make_plan(make_spec({"train": {"method": "head", "effort": effort}})) for effort in ("quick", "best"))
    assert quick.train.epochs < best.train.epochs
    assert best.origins["train.epochs"] == "method head, effort best"


def test_the_plan_says_what_the_model_is_and_what_it_needs() -> None:
    plan = make_plan(make_spec({"train": {"method": "head"}}))
    assert plan.base["id"] == "all-minilm-l6-v2"
    assert plan.base["licence"]
    assert 0.1 * GIB < plan.estimates["memory_bytes"] < GIB
    assert any("GiB" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("path", "spec", "wrong", "meant"),
    [
        ("task", {"task": "text-clasification"}, "text-clasification", "text-classification"),
        ("train.method", {"train": {"method": "heads"}}, "heads", "head"),
        ("executor", {"executor": "lokal"}, "lokal", "local"),
        ("data.format", {"data": {"format": "cvs"}}, "cvs", "csv"),
        ("evaluate.baselines", {"evaluate": {"baselines": ["majority", "majorty"]}}, "majorty", "majority"),
        ("export.runtimes", {"export": {"runtimes": ["onnx", "onnx-int9"]}}, "onnx-int9", "onnx-int8"),
    ],
)
def test_an_unknown_plugin_is_refused_with_the_nearest(path: str, spec: dict[str, Any], wrong: str, meant: str) -> None:
    with pytest.raises(SpecError, match=repr(wrong)) as caught:
        make_plan(make_spec(spec))
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path}: ")
    assert caught.value.hint.startswith("did you mean")
    assert repr(meant) in caught.value.hint


def test_an_unknown_model_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="'all-minilm-l6-v3'") as caught:
        make_plan(make_spec({"model": "all-minilm-l6-v3"}))
    assert "'all-minilm-l6-v2'" in caught.value.hint


@pytest.mark.parametrize("model", ["gpt2", "llama-3.1-8b"])
def test_a_model_of_another_kind_is_refused_with_fitting_ones(model: str) -> None:
    with pytest.raises(SpecError, match=f"'{model}' is a decoder model; text-classification needs encoder") as caught:
        make_plan(make_spec({"model": model}))
    assert caught.value.path == "model"
    assert "all-minilm-l6-v2" in caught.value.hint
    assert "gpt2" not in caught.value.hint


def test_what_memory_cannot_hold_is_refused_with_figures_and_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = make_spec({"model": "xlm-roberta-large", "train": {"method": "full"}})
    needed = cards.memory_bytes(cards.find("xlm-roberta-large"), "full") / GIB
    assert needed > 8
    _free(monkeypatch, 4 * GIB)
    with pytest.raises(NotPossible) as caught:
        make_plan(spec)
    assert f"needs about {needed:.1f} GiB to tune by full" in str(caught.value)
    assert "4.0 GiB free" in str(caught.value)
    assert "lora" in caught.value.hint
    assert "head" in caught.value.hint


def test_the_remedy_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine too small for ``full`` and large enough for ``head``."""
    card = cards.find("all-minilm-l6-v2")
    _free(monkeypatch, (cards.memory_bytes(card, "full") + cards.memory_bytes(card, "head")) / 2 / 0.9)
    with pytest.raises(NotPossible, match="by full"):
        make_plan(make_spec({"train": {"method": "full"}}))
    assert make_plan(make_spec({"train": {"method": "head"}})).train.method == "head"
    looked_at = make_plan(make_spec({"train": {"method": "full"}}), check_memory=False)
    assert looked_at.train.method == "full"


def test_a_model_that_is_not_here_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "cached_file", lambda hub, name: None)
    places._hub_unreachable.cache_clear()
    with pytest.raises(NotPossible, match=r"bert-base-uncased cannot be used right now: .*HF_HUB_OFFLINE") as caught:
        make_plan(make_spec({"model": "bert-base-uncased", "train": {"method": "head"}}))
    assert "luthier models" in caught.value.hint
    places._hub_unreachable.cache_clear()


def test_what_starts_from_an_artifact_inherits_its_plan(service: Service, planned: Callable[..., Plan]) -> None:
    first = planned(train={"method": "head", "effort": "quick", "epochs": 7}, evaluate={"bootstrap": 10}, prepare={"seed": 5})
    dataset = service.prepare(first)
    plan = service.plan(make_spec({"evaluate": {"folds": 3}}), dataset)
    assert (plan.name, plan.model, plan.task) == (first.name, first.model, first.task)
    assert (plan.train.method, plan.train.epochs, plan.evaluate.bootstrap, plan.prepare.seed) == ("head", 7, 10, 5)
    assert plan.data == first.data
    assert plan.origins["train.epochs"] == plan.origins["evaluate.bootstrap"] == "plan of try"
    assert plan.evaluate.folds == 3
    assert plan.origins["evaluate.folds"] == "recipe"


def test_another_method_brings_its_own_settings_along(service: Service, planned: Callable[..., Plan]) -> None:
    dataset = service.prepare(planned(train={"method": "head", "effort": "quick"}))
    plan = service.plan(make_spec({"train": {"method": "lora"}}), dataset)
    assert plan.train.method == "lora"
    assert plan.origins["train.learning_rate"] == "method lora, effort quick"
    assert plan.train.learning_rate != 0.02


def test_the_same_plan_is_the_same_run(planned: Callable[..., Plan]) -> None:
    assert run_id(planned()) == run_id(planned())
    assert run_id(planned()).startswith("try-")
    assert run_id(planned()) != run_id(planned(prepare={"seed": 4}))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"data": {"train": "nothere.csv"}}, "nothere.csv: there is no such file"),
        ({"data": {"train": "made:supprt-messages"}}, "unknown made data set 'supprt-messages'"),
        ({"data": {"train": "made:support-messages"}, "evaluate": {"bars": {"acuracy": 0.9}}}, "unknown score 'acuracy'"),
        ({"data": {"train": "made:support-messages"}, "deploy": {"endpoint": "a/b"}}, "'a/b' cannot name an endpoint"),
    ],
)
def test_what_cannot_work_is_refused_by_the_plan(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(LuthierError, match=said):
        make_plan(make_spec(spec), check_memory=False)
