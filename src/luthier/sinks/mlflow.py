"""Runs, figures and the exported model at MLflow: an address, or a folder on this machine.

Target: ``place;experiment=NAME``. The place is a tracking address (``http://...``, ``sqlite:///...``, ``databricks``) or a folder; empty:
``MLFLOW_TRACKING_URI``, and where that is not set, ``mlflow`` in the workspace. The model is logged from code, never as a pickle.
"""

from __future__ import annotations

import importlib
import os
import re
import tempfile
import threading
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from luthier.core import registry
from luthier.core.errors import MissingExtra, NotPossible
from luthier.core.events import Event
from luthier.sinks._careful import Careful
from luthier.sinks._tracker import Made, State, Tracker, options
from luthier.store import files
from luthier.store.workspace import Workspace

MODEL = "model"
"""What the logged model is called: ``runs:/RUN/model``."""

_STATES = {"succeeded": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""What a person may set otherwise. A server that is away must not hold a run up for minutes at each event."""

_EVERY_S = 2.0
_LONGEST_PARAM, _LONGEST_TAG, _MOST_AT_ONCE = 6000, 5000, 100
_CODE = '''\
"""Answers with a model that Luthier exported. Written by Luthier's mlflow sink: MLflow runs this file, nothing is unpickled."""

from pathlib import Path

import pandas
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

AT_ONCE = 256


class Exported(PythonModel):
    """The same encode, graph and decode as `luthier serve`: one answer a row."""

    def load_context(self, context):
        from luthier.stages.serve.engine import Endpoint

        self.endpoint = Endpoint.open(Path(context.artifacts["export"]))

    def predict(self, context, model_input: pandas.DataFrame, params=None) -> pandas.DataFrame:
        from luthier.core.errors import InputError

        task = self.endpoint.task
        try:
            asked = [example for row in model_input.to_dict(orient="records") for example in task.request(row)]
        except InputError as error:
            raise MlflowException.invalid_parameter_value(f"{error.message}; {error.hint}") from error
        parts = [asked[first : first + AT_ONCE] for first in range(0, len(asked), AT_ONCE)]
        answers = [task.answer(one.prediction) for part in parts for one in self.endpoint.predict_now(part)]
        return pandas.DataFrame(answers)


set_model(Exported())
'''


class _Run:
    """One MLflow run. A Luthier run that goes on is the same MLflow run again."""

    def __init__(self, place: str, experiment: str, name: str) -> None:
        for key, value in _DEFAULTS.items():
            os.environ.setdefault(key, value)
        self._mlflow: Any = importlib.import_module("mlflow")
        self._entities: Any = importlib.import_module("mlflow.entities")
        uri, root = _store(place)
        self._client: Any = self._mlflow.MlflowClient(tracking_uri=uri)
        self._experiment = self._experiment_id(experiment, root)
        self._waiting: list[Any] = []
        found = self._earlier(name)
        if found is None:
            found = self._client.create_run(
                self._experiment, run_name=name, tags={"luthier.run": name, "luthier.version": version("luthier")}
            )
        else:
            self._client.update_run(found.info.run_id, status="RUNNING")
        self.id: str = found.info.run_id
        self._known = set(found.data.params)
        self._models = {found.data.tags.get("luthier.model_of", "")}
        self._flushed = 0.0

    def _experiment_id(self, name: str, root: Path | None) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            where = {"artifact_location": (root / re.sub(r"[^\w.-]", "_", name).strip(".")).as_uri()} if root else {}
            try:
                return str(self._client.create_experiment(name, **where))
            except self._mlflow.MlflowException:
                found = self._client.get_experiment_by_name(name)  # another run was quicker
                if found is None:
                    raise
        return str(found.experiment_id)

    def _earlier(self, name: str) -> Any:
        if not re.fullmatch(r"[\w.:-]+", name):
            return None  # a filter has no way to quote everything
        found = self._client.search_runs([self._experiment], f"tags.`luthier.run` = '{name}'", max_results=1)
        return found[0] if found else None

    def settings(self, values: dict[str, Any]) -> None:
        """Parameters; MLflow lets none be changed, so what an earlier try wrote stays."""
        new = {_named(key): str(value)[:_LONGEST_PARAM] for key, value in values.items() if _named(key) not in self._known}
        self._known |= new.keys()
        items = [self._entities.Param(key, value) for key, value in new.items()]
        for first in range(0, len(items), _MOST_AT_ONCE):
            self._client.log_batch(self.id, params=items[first : first + _MOST_AT_ONCE])

    def figures(self, values: dict[str, float], step: int, at: float) -> None:
        """Metrics, sent together every few seconds."""
        self._waiting += [self._entities.Metric(_named(name), value, int(at * 1000), step) for name, value in values.items()]
        if at - self._flushed >= _EVERY_S:
            self._flush()
            self._flushed = at

    def _flush(self) -> None:
        sent, self._waiting = self._waiting, []
        for first in range(0, len(sent), 10 * _MOST_AT_ONCE):
            self._client.log_batch(self.id, metrics=sent[first : first + 10 * _MOST_AT_ONCE])

    def facts(self, values: dict[str, str]) -> None:
        """Tags."""
        tags = [self._entities.RunTag(_named(key), value[:_LONGEST_TAG]) for key, value in values.items()]
        self._client.log_batch(self.id, tags=tags)

    def artifact(self, made: Made) -> None:
        """The evaluation's report and figures as files, an export as a model."""
        self._flush()
        if made.kind == "evaluation":
            for name in ("report.html", "evaluation.json"):
                if (made.folder / name).is_file():
                    self._client.log_artifact(self.id, str(made.folder / name), "evaluation")
        elif made.kind == "export" and made.id not in self._models:
            self._log_model(made)
            self._models.add(made.id)
            self.facts({"luthier.model_of": made.id})

    def _log_model(self, made: Made) -> None:
        tags = {f"luthier.{kind}": identity for kind, identity in _lineage(made).items()}
        model = self._client.create_logged_model(self._experiment, name=MODEL, source_run_id=self.id, tags=tags, model_type="classifier")
        output = self._entities.LoggedModelOutput(model.model_id, step=0)
        try:
            with tempfile.TemporaryDirectory(prefix="luthier-mlflow-") as folder:
                self._save(made.folder, Path(folder) / MODEL, model.model_id)
                self._client.log_model_artifacts(model.model_id, str(Path(folder) / MODEL))
        except Exception:
            self._client.finalize_logged_model(model.model_id, "FAILED")
            raise
        self._client.finalize_logged_model(model.model_id, "READY")
        self._client.log_outputs(self.id, models=[output])

    def _save(self, export: Path, folder: Path, model_id: str) -> None:
        models = importlib.import_module("mlflow.models.model")
        save_model(export, folder, mlflow_model=models.Model(run_id=self.id, model_uuid=model_id, model_id=model_id))

    def end(self, state: State) -> None:
        """The run's last word."""
        self._flush()
        self._client.set_terminated(self.id, _STATES[state])


def save_model(export: Path, folder: Path, **more: Any) -> None:
    """Writes an exported folder as an MLflow model that ``mlflow models serve`` runs; ``folder`` must not exist.

    ``more`` goes to ``mlflow.pyfunc.save_model``. Raises ``NotPossible`` for a task whose model does not read texts.
    """
    pyfunc, pandas = importlib.import_module("mlflow.pyfunc"), importlib.import_module("pandas")
    facts = files.read_json(export / "export.json")
    read = registry.get("tasks", facts["task"]).columns[0].name
    if read != "text":
        raise NotPossible(f"a model for {facts['task']} cannot be logged at MLflow", "it reads no text; serve it by luthier serve")
    code = folder.parent / "exported.py"
    code.write_text(_CODE, encoding="utf-8")
    with _LOADING:
        pyfunc.save_model(
            path=str(folder),
            python_model=str(code),
            artifacts={"export": str(export)},
            signature=_signature(several=bool(files.read_json(export / "schema.json").get("multi_label"))),
            input_example=pandas.DataFrame({"text": ["where is my order?", "i want my money back"]}),
            pip_requirements=_requirements(facts["runtime"]),
            **more,
        )
    _without_folders(folder / "MLmodel", code.name)


def _without_folders(path: Path, code: str) -> None:
    """Takes the folders of this machine out of a model's description: MLflow finds the code and the export by their names beside it."""
    import yaml

    said = yaml.safe_load(path.read_text(encoding="utf-8"))
    flavor = said["flavors"]["python_function"]
    flavor["model_code_path"] = code
    flavor["artifacts"]["export"]["uri"] = flavor["artifacts"]["export"]["path"]
    files.write_text(path, yaml.safe_dump(said, sort_keys=False))


_LOADING = threading.Lock()
"""MLflow runs a model's code through a variable of its own module: two at once would get each other's model."""


def _signature(*, several: bool) -> Any:
    """What goes in and comes out, a row each."""
    models, types = importlib.import_module("mlflow.models"), importlib.import_module("mlflow.types")
    schema = importlib.import_module("mlflow.types.schema")
    column, kind = types.ColSpec, types.DataType
    answer = column(schema.Array(kind.string), "labels") if several else column(kind.string, "label")
    figures = [column(kind.double, "confidence"), column(kind.boolean, "abstained"), column(kind.double, "out_of_scope")]
    return models.ModelSignature(
        inputs=types.Schema([column(kind.string, "text")]), outputs=types.Schema([column(kind.string, "id"), answer, *figures])
    )


def _requirements(runtime: str) -> list[str]:
    """What ``mlflow models serve`` installs where it makes an environment of its own."""
    extras = ",".join(["mlflow", *(["openvino"] if runtime.startswith("openvino") else []), "serve"])
    return [f"luthier[{extras}]=={version('luthier')}", f"mlflow-skinny=={importlib.import_module('mlflow').__version__}"]


def _lineage(made: Made) -> dict[str, str]:
    """Kind -> id of the export and of what it was made from."""
    return {identity.partition("-")[0]: identity for identity in [*made.manifest.get("parents", []), made.id]}


def _named(text: str) -> str:
    """A name that MLflow takes (letters, digits and ``_-. :/``)."""
    return re.sub(r"[^\w\-. :/]", "_", text, flags=re.ASCII)[:250]


def _store(place: str) -> tuple[str, Path | None]:
    """The tracking address, and the folder for files where they lie on this machine."""
    place = place or os.environ.get("MLFLOW_TRACKING_URI", "")
    if "://" in place or place == "databricks" or place.startswith(("sqlite:", "file:")):
        return place, None
    folder = Path(place).absolute() if place else Workspace().home / "mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts"


class MLflow:
    """See the module."""

    name = "mlflow"
    summary = "runs, figures and the model at MLflow: an address or a folder (extra: mlflow)"

    def open(self, target: str) -> Callable[[Event], None]:
        """``place;experiment=NAME``; raises ``InputError`` and ``MissingExtra``. Nothing is sent before the first event of a run."""
        place, found = options(self.name, target, ("experiment",))
        if find_spec("mlflow") is None:
            raise MissingExtra("mlflow", "mlflow")
        experiment = found.get("experiment") or os.environ.get("MLFLOW_EXPERIMENT_NAME", "") or "luthier"
        return Careful(self.name, Tracker(lambda name: _Run(place, experiment, name)).take)


plugin = MLflow()
