"""What all trackers share: which events they are told of, how a run begins and ends, targets, and errors that stop nothing."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.app.sinks import opened
from luthier.core import events as said
from luthier.core import registry
from luthier.core.errors import InputError, UnknownName
from luthier.core.events import Event, NoteSaid
from luthier.sinks._careful import PATIENCE, Careful
from luthier.sinks._tracker import Made, Tracker, options
from luthier.store import files

Story = Callable[..., list[Event]]


class Written:
    """A tracked run that is kept in memory."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.plan: dict[str, Any] = {}
        self.curves: list[tuple[str, float, int]] = []
        self.facts_: dict[str, str] = {}
        self.made: list[str] = []
        self.states: list[str] = []

    def settings(self, values: dict[str, Any]) -> None:
        self.plan |= values

    def figures(self, values: dict[str, float], step: int, at: float) -> None:
        self.curves += [(name, value, step) for name, value in values.items()]

    def facts(self, values: dict[str, str]) -> None:
        self.facts_ |= values

    def artifact(self, made: Made) -> None:
        self.made.append(made.id)

    def end(self, state: str) -> None:
        self.states.append(state)


@pytest.fixture
def runs() -> list[Written]:
    return []


@pytest.fixture
def tracker(runs: list[Written]) -> Tracker:
    def start(name: str) -> Written:
        runs.append(Written(name))
        return runs[-1]

    return Tracker(start)


def _tell(tracker: Tracker, *events: Event) -> None:
    for event in events:
        tracker.take(event)


def _moved(stage: str, new: str, **more: Any) -> Event:
    return said.JobMoved(job="7", stage=stage, old="running", new=new, **more)


def test_a_whole_run(tracker: Tracker, runs: list[Written], story: Story) -> None:
    _tell(tracker, *story())
    assert [run.name for run in runs] == ["support-1a2b3c4d"]
    run = runs[0]
    assert run.plan["train.learning_rate"] == 1.2e-4
    assert run.plan["data.train"] == "[]"
    assert run.curves[:5] == [
        ("train/loss", 1.5, 5),
        ("validation/accuracy", 0.5, 10),
        ("validation/loss", 1.25, 10),
        ("train/epoch", 1.0, 10),
        ("validation/accuracy", 0.625, 20),
    ]
    once = {name: value for name, value, _ in run.curves}
    assert once["train/seconds"] == 3.5
    assert once["train/by/größe"] == 2
    assert {"train/ok", "train/why", "train/mfu"}.isdisjoint(once)
    assert (once["test/accuracy"], once["test/accuracy/low"], once["test/ece"]) == (0.75, 0.5, 0.125)
    assert run.facts_["luthier.gate.evaluate"] == "refused; accuracy 0.750 < 0.900 missed"
    assert run.facts_["luthier.evaluation"] == "evaluation-1"
    assert run.made == ["evaluation-1"]
    assert run.states == ["succeeded"]


def test_a_stage_alone_is_a_run_of_its_own(tracker: Tracker, runs: list[Written], evaluation: Path) -> None:
    written = said.ArtifactWritten(artifact="evaluation-1", kind="evaluation", path=str(evaluation))
    _tell(tracker, _moved("evaluate", "running"), written, _moved("evaluate", "succeeded"), _moved("export", "running"))
    assert [(run.name, run.states) for run in runs] == [("evaluate-7", ["succeeded"]), ("export-7", [])]
    assert "evaluate.folds" in runs[0].plan
    assert "train.learning_rate" not in runs[0].plan, "an evaluation's manifest does not say for certain how its model was trained"


def test_what_was_made_before_is_told_too(tracker: Tracker, runs: list[Written], evaluation: Path) -> None:
    reused = said.JobReused(stage="evaluate", artifact="evaluation-1", path=str(evaluation))
    _tell(tracker, reused)
    assert (runs[0].made, runs[0].states) == (["evaluation-1"], ["succeeded"])
    _tell(tracker, said.RunStarted(run="try"), reused)
    assert (runs[1].name, runs[1].made, runs[1].states) == ("try", ["evaluation-1"], [])


@pytest.mark.parametrize(("new", "state"), [("failed", "failed"), ("queued", "stopped"), ("cancelled", "stopped")])
def test_a_run_ends_as_its_job_did(tracker: Tracker, runs: list[Written], new: str, state: str) -> None:
    error = {"code": "no_space", "message": "the disk is full"}
    _tell(tracker, said.RunStarted(run="try"), _moved("train", new, error=error), said.StageFinished(stage="train", seconds=1))
    assert runs[0].states == [state]
    assert runs[0].facts_ == {"luthier.error.train": "no_space: the disk is full"}
    assert len(runs) == 1


@pytest.mark.parametrize(("exported", "state"), [(False, "failed"), (True, "succeeded")])
def test_a_run_that_nobody_ended_does_not_look_alive(runs: list[Written], exported: bool, state: str) -> None:
    def start(name: str) -> Written:
        runs.append(Written(name))
        return runs[-1]

    tracker = Tracker(start)
    _tell(tracker, said.RunStarted(run="try"), *([_moved("export", "succeeded")] if exported else []))
    del tracker
    gc.collect()
    assert runs[0].states == [state]


def test_a_server_that_answers_begins_no_run(tracker: Tracker, runs: list[Written]) -> None:
    answered = said.PredictionAnswered(endpoint="e", id="1", export="export-1", output="a", confidence=1)
    deployed = said.EndpointDeployed(endpoint="e", export="export-1", model="model-1")
    _tell(tracker, answered, deployed, said.GateDecided(gate="deploy e", passed=True), said.RunFinished(run="x", seconds=1))
    assert runs == []


def test_a_folder_that_is_gone_is_passed_over(tracker: Tracker, runs: list[Written], tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    for path in (tmp_path / "none", tmp_path / "bare"):
        _tell(tracker, said.RunStarted(run="try"), said.ArtifactWritten(artifact="evaluation-2", kind="evaluation", path=str(path)))
    assert runs[0].made == []
    assert runs[1].made == ["evaluation-2"]


def test_targets_are_read() -> None:
    keys = ("experiment", "dir")
    assert options("s", "", keys) == ("", {})
    assert options("s", "/tmp/a b;experiment= x%3By ;", keys) == ("/tmp/a b", {"experiment": "x;y"})
    assert options("s", "experiment=100%", keys) == ("", {"experiment": "100%"})
    assert options("s", "sqlite:///a.db?timeout=3", keys)[0] == "sqlite:///a.db?timeout=3"
    assert options("s", "http://h:5000/?a=b;dir=x", keys) == ("http://h:5000/?a=b", {"dir": "x"})


@pytest.mark.parametrize(
    ("target", "message", "hint"),
    [
        ("experimnt=a", "'experimnt=a'", "did you mean experiment=?"),
        ("x;y", "'y'", "known: dir=, experiment="),
        ("dir=a;dir=b", "dir is given twice", "once"),
        ("a\x00b", "cannot be shown", "folder"),
        ("a\nb", "cannot be shown", "folder"),
    ],
)
def test_targets_that_cannot_be_read(target: str, message: str, hint: str) -> None:
    with pytest.raises(InputError) as found:
        options("s", target, ("experiment", "dir"))
    assert message in str(found.value)
    assert hint in found.value.hint


def test_a_failing_sink_is_said_once_and_left_alone() -> None:
    calls: list[Event] = []
    complaints: list[str] = []

    def broken(event: Event) -> None:
        calls.append(event)
        raise ConnectionError("no server\nand more")

    take = Careful("broken", broken, complaints.append)
    for _ in range(10):
        take(NoteSaid(text="x"))
    assert complaints == ["sink broken: ConnectionError: no server; the run goes on, what broken shows of it is not whole"]
    assert len(calls) == PATIENCE


def test_a_sink_that_recovers_goes_on() -> None:
    calls: list[int] = []

    def shaky(event: Event) -> None:
        calls.append(1)
        if len(calls) % 2:
            raise ConnectionError

    take = Careful("shaky", shaky, lambda text: None)
    for _ in range(10):
        take(NoteSaid(text="x"))
    assert len(calls) == 10


def test_sinks_are_opened_by_name_and_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emitted: list[Event] = []
    (take,) = opened([f"jsonl:{tmp_path / 'a:b.jsonl'}"], emitted.append)
    take(NoteSaid(text="x"))
    assert "note.said" in (tmp_path / "a:b.jsonl").read_text()
    with pytest.raises(UnknownName, match="'mlfow'"):
        opened(["mlfow:x"], emitted.append)
    assert emitted == []
    monkeypatch.setattr(registry.get("sinks", "jsonl"), "open", lambda target: lambda event: 1 / 0)
    (take,) = opened(["jsonl"], emitted.append)
    take(NoteSaid(text="x"))
    assert isinstance(emitted[0], NoteSaid)
    assert (emitted[0].level, "ZeroDivisionError" in emitted[0].text) == ("warning", True)


def test_a_damaged_evaluation_is_an_error_that_careful_takes(tracker: Tracker, evaluation: Path) -> None:
    files.write_text(evaluation / "evaluation.json", "{")
    complaints: list[str] = []
    take = Careful("t", tracker.take, complaints.append)
    take(said.ArtifactWritten(artifact="evaluation-1", kind="evaluation", path=str(evaluation)))
    assert len(complaints) == 1
