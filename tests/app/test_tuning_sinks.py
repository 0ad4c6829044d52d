"""A job's sinks: callers name them and never a place, what they write lies in the job's workspace, and they hear how the job ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from chats import lines
from luthier.api import create_app
from luthier.app import tuning_sinks
from luthier.app.service import Service
from luthier.app.tuning_sinks import cleaned, open_sinks, places, target
from luthier.app.worker import Worker
from luthier.core import events as said
from luthier.core import registry
from luthier.core.errors import Conflict, GateRefused, InputError, SpecError
from luthier.core.events import Event, read_event
from luthier.core.tuning import Integration
from luthier.sinks._tracker import Tracker, options
from luthier.sinks.wandb import KEYS

LABELS = ("parcel", "refund")
HOME = Path("/home/ws")


@pytest.fixture(autouse=True)
def _no_places(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LUTHIER_SINKS", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_PROJECT", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def blue(tmp_path: Path) -> Service:
    return Service(tmp_path / "home", workspace="blue")


def _sink(name: str = "jsonl", **more: Any) -> dict[str, Any]:
    return {"type": "sink", "sink": name} | more


def _wandb(**more: Any) -> dict[str, Any]:
    return {"type": "wandb", "wandb": {"project": "tickets"} | more}


def _target(one: dict[str, Any]) -> str:
    return target(one, "ftjob-1", "blue", HOME)


# -- what a caller may say -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "path", "remedy"),
    [
        (_sink(target="/tmp/x"), "target", "LUTHIER_SINKS"),
        (_sink("mlflow", target="http://169.254.169.254"), "target", "leave it out"),
        (_sink("wandb", target="mode=online"), "target", "leave it out"),
        (_sink("terminal"), "sink", "LUTHIER_SINKS=terminal="),
        (_sink("mlfow"), "sink", "known: jsonl"),
        ({"type": "sink"}, "sink", "known: jsonl"),
        ({"type": "wandb"}, "wandb", '"project"'),
        (_sink("jsonl", project="p"), "project", "of wandb"),
        (_sink("wandb", experiment="e"), "experiment", "of mlflow"),
    ],
)
def test_what_is_not_a_callers_to_say_is_refused(one: dict[str, Any], path: str, remedy: str) -> None:
    with pytest.raises(SpecError) as found:
        tuning_sinks.check([Integration(type="wandb", wandb={"project": "first"}), Integration(**one)])  # type: ignore[arg-type]
    assert found.value.path == f"integrations.1.{path}"
    assert remedy in found.value.hint


def test_over_http_it_is_a_400_that_names_the_field_and_the_remedy(tmp_path: Path) -> None:
    with TestClient(create_app(Service(tmp_path / "home"), workers=1)) as client:
        body = {"model": "all-minilm-l6-v2", "training_file": "file-1", "integrations": [_sink(target=str(tmp_path / "x"))]}
        answer = client.post("/v1/fine_tuning/jobs", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "integrations.0.target")
    assert "LUTHIER_SINKS" in answer.json()["error"]["hint"]
    assert not (tmp_path / "x").exists()


def test_names_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTHIER_SINKS", "terminal=")
    given = [_wandb(), _sink("mlflow", experiment="e"), _sink("wandb", project="p"), _sink(), _sink("tensorboard"), _sink("terminal")]
    tuning_sinks.check([Integration(**one) for one in given])


# -- where it goes ---------------------------------------------------------------------------------------------------------------------


def test_without_an_owners_word_everything_lies_in_the_jobs_own_workspace() -> None:
    assert _target(_sink("jsonl")) == "/home/ws/jsonl/ftjob-1.jsonl"
    assert _target(_sink("tensorboard")) == "/home/ws/tensorboard"
    assert _target(_sink("mlflow")) == "/home/ws/mlflow"
    assert options("wandb", _target(_sink("wandb")), KEYS) == ("", {"name": "ftjob-1", "dir": "/home/ws/wandb"})
    assert options("wandb", _target(_wandb(tags=["a"])), KEYS)[1]["dir"] == "/home/ws/wandb"


def test_the_address_of_the_environment_is_no_place_for_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert _target(_sink("mlflow")) == "/home/ws/mlflow"


def test_an_earlier_jobs_target_is_not_followed() -> None:
    assert _target(_sink("jsonl", target="/etc/x")) == "/home/ws/jsonl/ftjob-1.jsonl"


def test_a_name_stays_a_name() -> None:
    _, found = options("mlflow", _target(_sink("mlflow", experiment="../x;experiment=y")), ("experiment",))
    assert found == {"experiment": "x-experiment-y"}
    _, found = options("wandb", _target(_wandb(project="p;mode=online;dir=/etc", name="n;dir=/etc\n", tags=["a;mode=online", "\0"])), KEYS)
    assert found == {"project": "p-mode-online-dir-etc", "name": "n;dir=/etc", "tags": "a;mode=online", "dir": "/home/ws/wandb"}
    assert [cleaned(text) for text in ("..", "größe 1.0", " a//b ", "x" * 200)] == ["", "größe 1.0", "a-b", "x" * 128]


def test_the_owners_places_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "mlflow=http://mlflow:5000; experiment=team;tensorboard=/srv/tb/{workspace};wandb=mode=online;project=ours;jsonl=/srv/{job}"
    monkeypatch.setenv("LUTHIER_SINKS", said)
    assert places() == {
        "mlflow": "http://mlflow:5000;experiment=team",
        "tensorboard": "/srv/tb/{workspace}",
        "wandb": "mode=online;project=ours",
        "jsonl": "/srv/{job}",
    }
    assert _target(_sink("mlflow", experiment="mine")) == "http://mlflow:5000;experiment=team"
    assert (_target(_sink("tensorboard")), _target(_sink("jsonl"))) == ("/srv/tb/blue", "/srv/ftjob-1")
    _, found = options("wandb", _target(_wandb(entity="elsewhere", tags=["t"])), KEYS)
    assert found == {"mode": "online", "project": "ours", "name": "ftjob-1", "tags": "t", "dir": "/home/ws/wandb"}
    monkeypatch.setenv("LUTHIER_SINKS", "mlflow=http://mlflow:5000")
    assert _target(_sink("mlflow", experiment="mine")) == "http://mlflow:5000;experiment=mine"
    monkeypatch.setenv("LUTHIER_SINKS", "mlflow=experiment=team;wandb=/srv/wandb")
    assert _target(_sink("mlflow", experiment="mine")) == "/home/ws/mlflow;experiment=team"
    assert options("wandb", _target(_wandb(entity="us")), KEYS) == (
        "/srv/wandb",
        {"project": "tickets", "name": "ftjob-1", "entity": "us"},
    )


@pytest.mark.parametrize("text", ["mlfow=http://x", "/srv/tb", "mlflow=a;mlflow=b", "tensorboard=/a;b=c", "mlflow=x;experimnt=y"])
def test_a_setting_that_cannot_be_read_is_said(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTHIER_SINKS", text)
    with pytest.raises(InputError, match="LUTHIER_SINKS"):
        places()


# -- a job with sinks ------------------------------------------------------------------------------------------------------------------


def _job(service: Service, *integrations: dict[str, Any]) -> str:
    file = service.files.create("chats.jsonl", "fine-tune", [lines(40, "message {n} about {reply}", LABELS)])
    body = {"model": "all-minilm-l6-v2", "training_file": file.id, "executor": "dummy", "integrations": list(integrations)}
    return str(service.fine_tuning.create(body)["id"])


def _work(service: Service) -> None:
    worker = Worker(str(service.workspace.root))
    worker.capacity.jobs = 1
    worker.run(idle_end=True)


class Heard:
    """A tracked run that remembers how it ended."""

    def __init__(self, states: list[str]) -> None:
        self.states = states

    def end(self, state: str) -> None:
        self.states.append(state)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How the tracked runs ended, in order. The trackers are kept, so that no run is ended by its garbage collection."""
    found: list[str] = []
    kept: list[Tracker] = []

    def opened(target: str) -> Callable[[Event], None]:
        kept.append(Tracker(lambda name: Heard(found)))
        return kept[-1].take

    monkeypatch.setattr(registry.get("sinks", "jsonl"), "open", opened)
    return found


def test_events_go_to_the_jobs_own_workspace_without_the_servers_folders(blue: Service, tmp_path: Path) -> None:
    job = _job(blue, _sink())
    _work(blue)
    assert blue.fine_tuning.get(job)["integrations"] == [_sink()]
    (path,) = tmp_path.rglob("jsonl/*")
    assert path == blue.workspace.home / "jsonl" / f"{job}.jsonl"
    found = [read_event(json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    (started,) = [event for event in found if isinstance(event, said.RunStarted)]
    assert str(tmp_path) not in json.dumps(started.plan)
    assert started.plan["train"]["epochs"] > 0
    assert isinstance(found[-1], said.TuningMoved)
    assert (found[-1].job, found[-1].new) == (job, "succeeded")


def test_sinks_hear_that_the_job_succeeded(blue: Service, states: list[str]) -> None:
    _job(blue, _sink())
    _work(blue)
    assert states == ["succeeded"]


def test_sinks_hear_that_the_gate_refused(blue: Service, states: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise GateRefused("accuracy 0.1 < 0.9 missed", "")

    monkeypatch.setattr("luthier.app.tuning_work.Work._judge", refuse)
    job = _job(blue, _sink())
    _work(blue)
    assert (states, blue.fine_tuning.get(job)["status"]) == (["failed"], "failed")


@pytest.mark.parametrize(("wish", "state"), [("cancel", "cancelled"), ("pause", "paused")])
def test_sinks_hear_that_the_job_was_stopped(
    blue: Service, states: list[str], monkeypatch: pytest.MonkeyPatch, wish: str, state: str
) -> None:
    train = Service.train

    def stopped(self: Service, plan: Any, dataset: Any, run: str = "") -> Any:
        self.fine_tuning.rows.wish(run, wish)
        assert self._runner._stopping.wait(20)
        return train(self, plan, dataset, run)

    monkeypatch.setattr(Service, "train", stopped)
    job = _job(blue, _sink())
    _work(blue)
    assert (states, blue.fine_tuning.get(job)["status"]) == (["stopped"], state)


def test_a_job_that_waits_has_no_tracked_run_that_looks_alive(blue: Service, states: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    train, tries = Service.train, []

    def busy(self: Service, *args: Any) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise Conflict("another job is at the same work", "")
        return train(self, *args)

    monkeypatch.setattr(Service, "train", busy)
    _job(blue, _sink())
    _work(blue)
    assert states == ["stopped", "succeeded"]


# -- what goes wrong -------------------------------------------------------------------------------------------------------------------


def _warnings(service: Service, job: str) -> list[str]:
    return [event["message"] for event in service.fine_tuning.events(job, 100)["data"] if event["level"] == "warn"][::-1]


def test_a_sink_that_cannot_be_opened_is_left_out_without_the_servers_folders(blue: Service, tmp_path: Path) -> None:
    (blue.workspace.home / "jsonl").write_text("a file")
    job = _job(blue, _sink())
    _work(blue)
    assert blue.fine_tuning.get(job)["status"] == "succeeded"
    (text,) = _warnings(blue, job)
    assert "The integration jsonl is left out: jsonl: " in text
    assert str(tmp_path) not in text


def test_what_the_owners_place_says_is_in_the_log_only(blue: Service, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    def broken(event: Event) -> None:
        raise ConnectionError("http://user:secret@mlflow:5000 is away")

    job = _job(blue, _sink())
    monkeypatch.setenv("LUTHIER_SINKS", "jsonl=/srv/secret")
    monkeypatch.setattr(registry.get("sinks", "jsonl"), "open", lambda target: broken)
    (take,) = open_sinks(blue, [_sink()], job)
    take(said.NoteSaid(text="x"))
    assert _warnings(blue, job) == ["The integration jsonl does not work: the worker's log says why"]
    assert "secret@mlflow" in caplog.text
    monkeypatch.setattr(registry.get("sinks", "jsonl"), "open", lambda target: 1 / 0)
    assert open_sinks(blue, [_sink()], job) == []
    assert _warnings(blue, job)[-1] == "The integration jsonl is left out: the worker's log says why"
