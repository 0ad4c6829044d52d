"""The path in a notebook: prepare, train, evaluate, export, deploy, each a function that gives something to look at and go on from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.app.endpoints import EndpointInfo
from luthier.app.service import RunResult, Service
from luthier.core import registry
from luthier.core.plan import Plan
from luthier.core.spec import make_spec, read_spec
from luthier.core.types import Artifact


@dataclass(frozen=True)
class _Made:
    """An artifact, and the service whose workspace holds it."""

    service: Service
    artifact: Artifact

    @property
    def id(self) -> str:
        """The artifact's id."""
        return self.artifact.id

    @property
    def path(self) -> Path:
        """The artifact's folder."""
        return Path(self.artifact.path)

    @property
    def summary(self) -> dict[str, Any]:
        """What the stage said of it."""
        found: dict[str, Any] = self.service.workspace.artifacts.manifest(self.id)["summary"]
        return found


class Dataset(_Made):
    """Checked, masked, split examples."""


class Model(_Made):
    """A tuned model."""


class Evaluation(_Made):
    """What a model is worth; ``report`` is a page that opens from the disk."""

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    @property
    def figures(self) -> dict[str, Any]:
        """Everything in ``evaluation.json``."""
        return self.service.evaluation(self.artifact)


class Export(_Made):
    """Graphs that serve without torch."""


@dataclass(frozen=True)
class Endpoint:
    """A deployed endpoint, answering in this process (``luthier serve`` answers over HTTP)."""

    service: Service
    info: EndpointInfo

    def predict(self, text: Any, *, scores: bool = False) -> Any:
        """The answer to a text (a mapping), or to a list of texts (a list of mappings)."""
        from luthier.stages.serve.engine import Endpoint as Engine

        task = registry.get("tasks", self.info.task)
        examples = task.request({"texts": text} if isinstance(text, list) else {"text": text})
        engine = Engine.open(self.info.folder)
        try:
            answers = [task.answer(made.prediction, scores=scores) for made in engine.predict_now(examples)]
        finally:
            engine.close()
        return answers if isinstance(text, list) else answers[0]


def _spec(section: str, settings: dict[str, Any], **top: Any) -> Any:
    """Keywords as a spec: ``data`` and ``prepare`` fields are told apart by name."""
    from luthier.core.plan import DataPlan

    sections: dict[str, dict[str, Any]] = {section: {}}
    for name, value in settings.items():
        home = "data" if section == "prepare" and name in DataPlan.model_fields else section
        sections.setdefault(home, {})[name] = value
    return make_spec({key: value for key, value in (top | sections).items() if value})


def prepare(data: Any, *, name: str = "", task: str = "", model: str = "", home: str | Path = "", **settings: Any) -> Dataset:
    """A dataset from a file, a list of files or ``made:NAME``. ``settings``: fields of the plan's ``data`` and ``prepare``."""
    service = Service(home)
    settings["train"] = data
    plan = service.plan(_spec("prepare", settings, name=name, task=task, model=model))
    return Dataset(service, service.prepare(plan))


def train(data: Dataset, *, model: str = "", **settings: Any) -> Model:
    """A model tuned on a dataset. ``settings``: fields of the plan's ``train``."""
    plan = data.service.plan(_spec("train", settings, model=model), data.artifact)
    return Model(data.service, data.service.train(plan, data.artifact))


def evaluate(model: Model, data: Dataset | None = None, **settings: Any) -> Evaluation:
    """What the model is worth on the test rows of the dataset it was tuned from (``data``, if given, must be that one)."""
    from luthier.core.errors import InputError

    if data is not None and data.id not in model.artifact.parents:
        raise InputError(f"{model.id} was not tuned from {data.id}", "a model is evaluated on the test rows kept apart from its training")
    plan = model.service.plan(_spec("evaluate", settings), model.artifact)
    return Evaluation(model.service, model.service.evaluate(plan, model.artifact))


def export(model: Model | Evaluation, evaluation: Evaluation | None = None, **settings: Any) -> Export:
    """Graphs of an evaluated model."""
    service = model.service
    judged = (evaluation or model).artifact
    judged = judged if judged.kind == "evaluation" else service.evaluation_of(judged.id)
    return Export(service, service.export(service.plan(_spec("export", settings), judged), judged))


def deploy(export: Export, endpoint: str, *, force: bool = False) -> Endpoint:
    """An endpoint that answers with the export, if the gate passes."""
    return Endpoint(export.service, export.service.deploy(export.artifact, endpoint, force=force))


def run(recipe: str | Path | Plan, *, home: str | Path = "") -> RunResult:
    """A whole recipe."""
    service = Service(home)
    return service.run(recipe if isinstance(recipe, Plan) else service.plan(read_spec(Path(recipe))))
