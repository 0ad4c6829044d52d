"""The table of models: figures are those of their evaluations, tests are on the rows that both answered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luthier.app import comparing
from luthier.app.service import Service
from luthier.core import registry
from luthier.core.errors import InputError
from luthier.core.plan import Plan
from luthier.core.ports import Judged
from luthier.core.types import Artifact, Example
from luthier.stages.evaluate import predictions
from luthier.store import files

SCHEMA = {"labels": ["a", "b"], "multi_label": False}
TASK = registry.get("tasks", "text-classification")


@pytest.fixture
def judged(service: Service, stored: Callable[..., Artifact], planned: Callable[..., Plan]) -> Callable[..., Artifact]:
    """An evaluation of a model that answers rightly where ``right`` says so."""

    def make(name: str, right: Any, task: str = TASK.name, seconds: float = 2.0) -> Artifact:
        plan = planned(name=name, evaluate={"bootstrap": 50})
        dataset = stored("dataset", plan=plan, of=name)
        folder = service.workspace.work / f"model-{name}"
        files.write_json(folder / "schema.json", SCHEMA)
        files.write_json(folder / "name.json", name)
        dumped = plan.model_dump(mode="json")
        model = service.workspace.artifacts.add(folder, "model", parents=(dataset.id,), name=name, plan=dumped)
        targets = np.arange(len(right)) % 2
        examples = [Example(f"row {n}", {}, "ab"[target]) for n, target in enumerate(targets)]
        logits = np.eye(2)[np.where(right, targets, 1 - targets)] * 4.0
        answers = TASK.decode([one.id for one in examples], {"logits": logits}, SCHEMA, {})
        folder = service.workspace.work / f"evaluation-{name}"
        predictions.write(folder / predictions.NAME, Judged(examples, answers, {"logits": logits}, SCHEMA))
        facts = {
            "task": task,
            "primary_metric": "accuracy",
            "method": "full",
            "plan": dumped,
            "scores": {
                "accuracy": {"value": float(np.mean(right)), "low": 0.1, "high": 0.9, "parts": {}},
                "rare_f1": {"value": 0.25, "parts": {}},
            },
            "training": {"seconds": seconds},
            "comparison": [{"name": "this model", "predict_ms_per_row": 1.5}],
        }
        files.write_json(folder / "evaluation.json", facts)
        return service.workspace.artifacts.add(folder, "evaluation", parents=(dataset.id, model.id), name=name, plan=dumped)

    return make


def test_the_table_has_scores_costs_and_a_paired_test(service: Service, judged: Callable[..., Artifact]) -> None:
    rows = np.arange(200)
    judged("plain", rows % 4 > 0), judged("better", rows % 20 > 0, seconds=8.0)
    said = comparing.table(service, comparing.contenders(service, ["plain", "better"]))
    first, second = said["rows"]
    assert (said["primary_metric"], said["reference"]) == ("accuracy", "plain")
    assert first["scores"] == {"accuracy": {"value": 0.75, "low": 0.1, "high": 0.9}, "rare_f1": {"value": 0.25}}
    assert (first["train_s"], second["train_s"], first["ms_per_row"]) == (2.0, 8.0, 1.5)
    assert "test" not in first
    assert "response_ms" not in first
    test = second["test"]
    assert (test["only_first_right"], test["only_second_right"]) == (40, 0)
    assert test["difference"] == pytest.approx(0.2)
    assert test["saying"].startswith("better against plain: +20.0 points of accuracy")


def test_many_tests_are_corrected_for_their_number(service: Service, judged: Callable[..., Artifact]) -> None:
    rows = np.arange(200)
    for name, right in {"one": rows % 10 > 0, "two": rows % 12 > 0, "three": rows % 4 > 0}.items():
        judged(name, right)
    said = comparing.table(service, comparing.contenders(service, ["one", "two", "three"]))
    two, three = (row["test"] for row in said["rows"][1:])
    assert three["p_holm"] == pytest.approx(2 * three["p_mid"])
    assert two["p_holm"] == pytest.approx(max(two["p_mid"], three["p_holm"]))


def test_holm_keeps_the_order_and_never_passes_one() -> None:
    assert comparing.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert comparing.holm([0.9, 0.8]) == [1.0, 1.0]
    assert comparing.holm([]) == []


def test_the_response_time_is_that_of_the_newest_export(
    service: Service, judged: Callable[..., Artifact], stored: Callable[..., Artifact]
) -> None:
    evaluations = [judged(name, np.arange(20) % 3 > 0) for name in ("one", "two")]
    model = next(one for one in service.workspace.artifacts.lineage(evaluations[1].id) if one.kind == "model")
    times = [{"threads": threads, "batch": batch, "p50_ms": threads + batch} for threads in (1, 2) for batch in (1, 32)]
    stored("export", model, evaluations[1], runtime="onnx-int8", latency={"onnx-int8": times})
    rows = comparing.table(service, comparing.contenders(service, ["one", "two"]))["rows"]
    assert "response_ms" not in rows[0]
    assert rows[1]["response_ms"] == 2.0


def test_models_of_two_tasks_are_not_compared(service: Service, judged: Callable[..., Artifact]) -> None:
    judged("one", np.ones(10, bool)), judged("two", np.ones(10, bool), task="token-classification")
    with pytest.raises(InputError, match="models of different tasks"):
        comparing.table(service, comparing.contenders(service, ["one", "two"]))


def test_one_model_alone_and_ways_of_no_recipe_are_refused(service: Service, judged: Callable[..., Artifact]) -> None:
    judged("one", np.ones(10, bool))
    with pytest.raises(InputError, match="there is one model only"):
        comparing.contenders(service, ["one"])
    with pytest.raises(InputError, match="--vary changes a recipe, and one is none"):
        comparing.contenders(service, ["one"], vary=["train.epochs=1,2"])


def test_a_recipe_is_planned_in_every_way_before_anything_runs(
    service: Service, messages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, judged: Callable[..., Artifact]
) -> None:
    ran: list[Plan] = []

    def run(service: Service, plan: Plan) -> Artifact:
        ran.append(plan)
        return judged(plan.name, np.arange(30) % (2 + len(ran)) > 0)

    monkeypatch.setattr(comparing, "evaluated", run)
    recipe = tmp_path / "support.yaml"
    recipe.write_text(f"data: {{train: {messages}}}\nexecutor: dummy\n", encoding="utf-8")
    found = comparing.contenders(
        service, [str(recipe)], settings=["train.epochs=2"], vary=["train.class_weights=none,balanced"], also=["train.loss=focal"]
    )
    assert [one.name for one in found] == ["class_weights=none", "class_weights=balanced", "loss=focal"]
    assert [(plan.train.class_weights, plan.train.loss, plan.train.epochs) for plan in ran] == [
        ("none", "cross-entropy", 2),
        ("balanced", "cross-entropy", 2),
        ("auto", "focal", 2),
    ]
    assert all(plan.evaluate.baselines == ["majority"] for plan in ran)
    assert len({plan.name for plan in ran}) == 3
    ran.clear()
    with pytest.raises(InputError):
        comparing.contenders(service, [str(recipe)], vary=["data.train=[nowhere.csv],[also-nowhere.csv]"])
    assert ran == []
