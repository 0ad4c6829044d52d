"""A search: what it tries follows from its seed, it goes on after a kill, ends what is bad early, and never asks the test rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect

from luthier.app import searching
from luthier.app.search_picture import picture, place
from luthier.app.searching import Asked
from luthier.app.service import Service
from luthier.core.errors import Conflict, InputError, NotPossible, SpecError, Stopped
from luthier.core.events import StepFinished
from luthier.core.plan import Plan
from luthier.core.search import read_axis
from luthier.core.spec import Spec, make_spec, read_spec
from luthier.core.types import Artifact
from luthier.store import files

AXES = ["train.learning_rate=log:1e-5:1e-1", "train.epochs=int:2:6", "train.class_weights=none,balanced"]


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.fixture
def spec(messages: Path) -> Spec:
    return make_spec({"name": "support", "executor": "dummy", "data": {"train": [str(messages)]}, "train": {"method": "head", "epochs": 3}})


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """In the place of training: the nearer the learning rate to 1e-3, the better; a figure an epoch. ``made``: the plans."""
    return _Trainer(monkeypatch)


class _Trainer:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[Plan] = []
        self.kill_at = self.lower_is_better = self.error = 0
        monkeypatch.setattr(Service, "prepare", lambda service, plan, run="": self._artifact(service, "dataset", plan, {}))
        monkeypatch.setattr(Service, "train", lambda service, plan, dataset, run="": self._train(service, plan))
        monkeypatch.setattr(searching.datasets, "count_splits", lambda folder: {"train": 20, "validation": 5})

    def _train(self, service: Service, plan: Plan) -> Artifact:
        self.made.append(plan)
        if self.error:
            raise NotPossible("the loss is not a number", "lower it")
        stopped: list[bool] = []
        service.stop = lambda: stopped.append(True)  # type: ignore[method-assign]
        goal = 1.0 - abs(math.log10(plan.train.learning_rate) + 3) / 4
        for epoch in range(1, round(plan.train.epochs) + 1):
            if self.kill_at == len(self.made) and epoch == 2:
                raise Killed
            value = goal * epoch / (epoch + 1)
            figures = {"accuracy": 1 - value if self.lower_is_better else value}
            service.emit(StepFinished(step=epoch, epoch=epoch, figures=figures, higher_is_better=not self.lower_is_better))
            for _ in range(200):
                if stopped or not any(getattr(sink, "bad", False) for sink in service.sinks):
                    break
                time.sleep(0.01)
            if stopped:
                raise Stopped("ended", "")
        training = {"best_metric": figures["accuracy"], "seconds": 1.0, "epochs": epoch, "higher_is_better": not self.lower_is_better}
        return self._artifact(service, "model", plan, training)

    @staticmethod
    def _artifact(service: Service, kind: str, plan: Plan, training: dict[str, Any]) -> Artifact:
        folder = service.workspace.work / f"{kind}-{plan.name}"
        files.write_json(folder / "training.json", training | {"of": plan.train.model_dump()})
        return service.workspace.artifacts.add(folder, kind, name=plan.name, plan=plan.model_dump(mode="json"))


def asked(service: Service, spec: Spec, trials: int = 8, **changes: Any) -> Asked:
    return Asked(spec, searching.space(service, spec, AXES), trials, **changes)


def test_the_first_trial_is_the_recipe_and_the_best_is_written_out(service: Service, spec: Spec, trainer: Any) -> None:
    said = searching.search(service, asked(service, spec))
    first, best = said["trials"][0], said["best"]
    assert first["values"]["train.epochs"] == 3
    assert len(said["trials"]) == 8
    assert best["value"] == max(one["value"] for one in said["trials"] if one["value"] is not None)
    folder = Path(said["folder"])
    written = read_spec(folder / "best.yaml")
    assert f"train.learning_rate={written.train['learning_rate']!r}" in best["settings"]
    assert written.data["train"] == spec.data["train"]
    assert files.read_json(folder / "search.json")["best"] == best
    assert (folder / "search.svg").read_text(encoding="utf-8").count("<circle") >= 8


def test_each_trial_is_a_run_and_none_is_evaluated(service: Service, spec: Spec, trainer: Any) -> None:
    said = searching.search(service, asked(service, spec, 3))
    runs = {run["id"]: run["state"] for run in service.runs()}
    assert {one["run"] for one in said["trials"] if "run" in one} <= set(runs)
    assert len(runs) == 3
    assert not service.workspace.artifacts.all("evaluation")


def test_what_is_bad_is_ended_early(service: Service, spec: Spec, trainer: Any) -> None:
    said = searching.search(service, asked(service, spec, 16))
    ended = [one for one in said["trials"] if one["state"] == "ended early"]
    assert ended
    assert all(one["value"] is None and one["curve"] for one in ended)
    assert {run["state"] for run in service.runs()} == {"succeeded", "cancelled"}


def test_a_killed_search_makes_the_trials_that_an_unbroken_one_makes(service: Service, spec: Spec, trainer: Any, tmp_path: Path) -> None:
    whole = searching.search(Service(tmp_path / "other"), asked(service, spec))
    trainer.kill_at = len(trainer.made) + 3
    with pytest.raises(Killed):
        searching.search(service, asked(service, spec))
    before = trainer.made[-1].train
    resumed = searching.search(service, asked(service, spec))
    assert trainer.made[8 + 3].train == before  # the one that was interrupted is made again
    keep = ("trial", "state", "value", "curve", "settings")
    assert [[one[key] for key in keep] for one in resumed["trials"]] == [[one[key] for key in keep] for one in whole["trials"]]


def test_more_trials_go_on_and_none_is_repeated(service: Service, spec: Spec, trainer: Any) -> None:
    searching.search(service, asked(service, spec, 2))
    searching.search(service, asked(service, spec, 4))
    searching.search(service, asked(service, spec, 3))
    assert len(trainer.made) == 4


def test_another_search_of_the_same_name_is_refused(service: Service, spec: Spec, trainer: Any) -> None:
    searching.search(service, asked(service, spec, 1))
    with pytest.raises(Conflict, match="'support' is the name of another search") as caught:
        searching.search(service, asked(service, spec, 1, seed=30))
    assert "--name" in caught.value.hint
    searching.search(service, asked(service, spec, 1, seed=30, name="support-30"))


def test_a_metric_of_which_less_is_better(service: Service, spec: Spec, trainer: Any) -> None:
    trainer.lower_is_better = True
    said = searching.search(service, asked(service, spec))
    values = [one["value"] for one in said["trials"] if one["value"] is not None]
    assert said["best"]["value"] == min(values)
    assert all(0 <= value <= 1 for value in values)


def test_a_recipe_of_which_every_trial_fails_is_given_up(service: Service, spec: Spec, trainer: Any) -> None:
    trainer.error = 1
    with pytest.raises(NotPossible, match="every trial failed, the last one so: the loss is not a number"):
        searching.search(service, asked(service, spec))
    assert len(trainer.made) == 3


def test_without_validation_rows_there_is_no_search(service: Service, spec: Spec, trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching.datasets, "count_splits", lambda folder: {"train": 20, "test": 5})
    with pytest.raises(InputError, match="judged on validation rows, and there are none"):
        searching.search(service, asked(service, spec))
    assert trainer.made == []


@pytest.mark.parametrize(
    ("axis", "error", "said"),
    [
        ("prepare.seed=int:1:5", SpecError, "is not searched"),
        ("train.dropout=0:1.5", SpecError, "less than 1"),
        ("train.epoch=int:1:3", SpecError, "no such field"),
        ("train.class_weights=none,lots", SpecError, "lots"),
    ],
)
def test_what_no_trial_could_be_is_said_before_any(service: Service, spec: Spec, axis: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        searching.space(service, spec, [axis])


def test_without_axes_the_method_names_them(service: Service, spec: Spec, messages: Path) -> None:
    found = {axis.field for axis in searching.space(service, spec, [])}
    assert {"train.head_learning_rate", "train.epochs"} <= found
    other = make_spec({"data": {"train": [str(messages)]}, "train": {"method": "dummy"}})
    with pytest.raises(InputError, match="method dummy names nothing to search"):
        searching.space(service, other, [])


def test_the_picture_places_values_between_the_ends() -> None:
    log, choice = read_axis("train.learning_rate=log:1e-5:1e-3"), read_axis("train.x=a,b,c")
    assert [place(log, value) for value in (1e-5, 1e-4, 1e-3)] == pytest.approx([0, 0.5, 1])
    assert place(choice, "b") == 0.5
    trials = [
        {"trial": 1, "state": "succeeded", "value": 0.5, "curve": {}, "values": {"train.x": "a"}},
        {"trial": 2, "state": "ended early", "value": None, "curve": {"1": 0.2}, "values": {"train.x": "b"}},
        {"trial": 3, "state": "failed", "value": None, "curve": {}, "values": {"train.x": "c"}},
    ]
    made: Callable[..., str] = picture
    drawn = made([choice], trials, "macro_f1", "a <search>")
    assert drawn == made([choice], trials, "macro_f1", "a <search>")
    assert drawn.count("<circle") == 4
    assert "a &lt;search&gt;" in drawn


def test_on_postgresql_a_search_has_tables_of_its_own(
    postgres_url: str, tmp_path: Path, spec: Spec, trainer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours and Optuna's revision tables have one name: neither may take the other's for its own."""
    monkeypatch.setenv("LUTHIER_DATABASE", postgres_url)
    service = Service(tmp_path / "pg")
    searching.search(service, asked(service, spec, 2))
    again = Service(tmp_path / "pg")
    assert len(searching.search(again, asked(again, spec, 3))["trials"]) == 3
    tables = inspect(service.workspace.engine())
    assert tables.has_table("trials", schema="searches")
    assert not tables.has_table("trials")
    assert not (tmp_path / "pg" / "searches.db").exists()
