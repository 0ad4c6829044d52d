"""MLflow: runs by its own client, and the exported model served by ``mlflow models serve``."""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from luthier.core import events, registry
from luthier.core.errors import InputError, MissingExtra
from luthier.core.events import Event
from luthier.testing import made

needs_mlflow = pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")
TEXTS = ["where is my order?", "I want my money back, now", "please delete my account"]


def _client(folder: Path) -> Any:
    return importlib.import_module("mlflow").MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")


def _runs(client: Any, experiment: str = "luthier") -> list[Any]:
    found: list[Any] = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return found


@needs_mlflow
def test_a_run_is_an_mlflow_run_and_goes_on_as_one(
    tmp_path: Path, story: Callable[..., list[Event]], follow: Callable[..., list[str]]
) -> None:
    whole, folder = story(), tmp_path / "ml"
    assert follow("mlflow", f"{folder};experiment=a b", whole[:5]) == []
    client = _client(folder)
    assert follow("mlflow", f"{folder};experiment=a b", [*story(resumed=True)[:1], *whole[5:]]) == []
    (run,) = _runs(client, "a b")
    assert (run.info.run_name, run.info.status) == ("support-1a2b3c4d", "FINISHED")
    assert run.data.params["train.learning_rate"] == "0.00012"
    history = client.get_metric_history(run.info.run_id, "validation/accuracy")
    assert sorted((one.step, one.value, one.timestamp) for one in history) == [(10, 0.5, 1_001_000), (20, 0.625, 1_002_000)]
    assert run.data.metrics["test/accuracy/high"] == 0.875
    assert run.data.metrics["train/by/gr__e"] == 2
    assert run.data.tags["luthier.evaluation"] == "evaluation-1"
    assert "0.900 missed" in run.data.tags["luthier.gate.evaluate"]
    assert {one.path for one in client.list_artifacts(run.info.run_id, "evaluation")} == {
        "evaluation/evaluation.json",
        "evaluation/report.html",
    }
    assert Path(run.info.artifact_uri.removeprefix("file://")).is_relative_to(folder / "artifacts")


@needs_mlflow
def test_a_jobs_end_is_the_runs_end(tmp_path: Path, follow: Callable[..., list[str]]) -> None:
    ends = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED", "paused": "KILLED", "queued": "KILLED"}
    for end in ends:
        ended = events.TuningMoved(job=f"ftjob-{end}", old="running", new=end)
        assert follow("mlflow", str(tmp_path), [events.RunStarted(run=f"ftjob-{end}"), ended]) == []
    again = [events.RunStarted(run="ftjob-paused", resumed=True), events.TuningMoved(job="ftjob-paused", old="running", new="succeeded")]
    assert follow("mlflow", str(tmp_path), again) == []
    runs = {run.info.run_name.removeprefix("ftjob-"): run.info.status for run in _runs(_client(tmp_path))}
    assert runs == ends | {"paused": "FINISHED"}


@needs_mlflow
def test_any_event_is_taken_and_the_global_state_is_left_alone(tmp_path: Path, follow: Callable[..., list[str]]) -> None:
    mlflow = importlib.import_module("mlflow")
    before = mlflow.get_tracking_uri()
    assert follow("mlflow", str(tmp_path / "ml"), list(made.events())) == []
    assert (mlflow.get_tracking_uri(), mlflow.active_run()) == (before, None)


@needs_mlflow
def test_a_server_that_is_away_is_said_once_and_soon(
    story: Callable[..., list[Event]], follow: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        start = time.monotonic()
        complaints = follow("mlflow", f"http://127.0.0.1:{taken.getsockname()[1]}", story())
    assert len(complaints) == 1
    assert "the run goes on" in complaints[0]
    assert time.monotonic() - start < 30


def test_what_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError) as found:
        registry.get("sinks", "mlflow").open("http://localhost:5000;experimnt=x")
    assert found.value.hint == "did you mean experiment=?"
    monkeypatch.setattr("luthier.sinks.mlflow.find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as missing:
        registry.get("sinks", "mlflow").open("")
    assert missing.value.hint == "pip install 'luthier[mlflow]'"


# -- the model -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory, export_folder: Path) -> tuple[Path, Any, Any]:
    """A tracking folder with a run that logged the export twice, its client, and the run."""
    pytest.importorskip("mlflow")

    folder = tmp_path_factory.mktemp("mlflow")
    take = registry.get("sinks", "mlflow").open(str(folder))
    complaints: list[str] = []
    take.say = complaints.append
    written = events.ArtifactWritten(artifact="export-1", kind="export", path=str(export_folder))
    reused = events.JobReused(stage="export", artifact="export-1", path=str(export_folder))
    for event in (events.RunStarted(run="try"), written, reused, events.RunFinished(run="try", seconds=1)):
        take(event)
    assert complaints == []
    client = _client(folder)
    return folder, client, _runs(client)[0]


def _model_folder(folder: Path) -> Path:
    (found,) = folder.glob("artifacts/luthier/models/*/artifacts")
    return found


@needs_mlflow
def test_the_model_holds_code_and_the_export_and_no_pickle(logged: tuple[Path, Any, Any]) -> None:
    folder, client, run = logged
    model = _model_folder(folder)
    assert not [path for path in model.rglob("*") if path.suffix in (".pkl", ".pickle", ".joblib")]
    said = (model / "MLmodel").read_text()
    assert "python_model.pkl" not in said
    assert "model_code_path: exported.py" in said
    assert str(folder.parent) not in said, "no folder of this machine is in it"
    requirements = (model / "requirements.txt").read_text().split()
    assert any(one.startswith("luthier[mlflow,serve]==") for one in requirements)
    (found,) = client.search_logged_models([run.info.experiment_id])
    assert (found.source_run_id, found.status, found.tags["luthier.export"]) == (run.info.run_id, "READY", "export-1")
    assert run.data.tags["luthier.model_of"] == "export-1"


@needs_mlflow
def test_the_loaded_model_answers_as_the_endpoint_does(logged: tuple[Path, Any, Any], export_folder: Path) -> None:
    from luthier.stages.serve.engine import Endpoint

    mlflow, pandas = importlib.import_module("mlflow"), importlib.import_module("pandas")
    model = mlflow.pyfunc.load_model(str(_model_folder(logged[0])))
    assert model.metadata.signature.inputs.input_names() == ["text"]
    assert model.metadata.signature.outputs.input_names() == ["id", "label", "confidence", "abstained", "out_of_scope"]
    rows = [text for number in range(300) for text in TEXTS]
    answers = model.predict(pandas.DataFrame({"text": rows}))
    assert len(answers) == 900
    endpoint = Endpoint.open(export_folder)
    try:
        ours = [one.prediction.output for one in endpoint.predict_now(endpoint.task.request({"texts": TEXTS}))]
    finally:
        endpoint.close()
    assert list(answers["label"][:3]) == ours
    with pytest.raises(mlflow.exceptions.MlflowException, match=r"texts\[0\]"):
        model.predict(pandas.DataFrame({"text": [" "]}))


@pytest.fixture(scope="module")
def served(logged: tuple[Path, Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of ``mlflow models serve`` over ``runs:/RUN/model``, without an environment of its own."""
    folder, _, run = logged
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"runs:/{run.info.run_id}/model"]
    log = tmp_path_factory.mktemp("serve") / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--env-manager", "local", "-p", str(port)], env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        for _ in range(180):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2)
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _ask(address: str, body: Any) -> tuple[int, Any]:
    request = urllib.request.Request(address, json.dumps(body).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@needs_mlflow
def test_mlflow_models_serve_answers(served: str) -> None:
    code, answer = _ask(served, {"dataframe_records": [{"text": text} for text in TEXTS]})
    assert code == 200, answer
    assert [set(row) for row in answer["predictions"]] == [{"id", "label", "confidence", "abstained", "out_of_scope"}] * 3
    for body in ({"dataframe_records": [{"text": " "}]}, {"dataframe_records": [{"txt": "x"}]}):
        assert _ask(served, body)[0] == 400
