"""The path in a notebook: prepare, train, evaluate, export, deploy, each a function that gives something to look at and go on from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from luthier.app.endpoints import EndpointInfo
from luthier.app.service import RunResult, Service
from luthier.core import registry
from luthier.core.plan import DataPlan, Plan, PreparePlan
from luthier.core.spec import make_spec, read_spec
from luthier.core.types import Artifact

if TYPE_CHECKING:
    from luthier.stages.serve.engine import Endpoint as Engine
    from luthier.stages.serve.writing import WritingEndpoint


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
    """A deployed endpoint, answering in this process (``luthier serve`` answers over HTTP).

    It is opened by the first call and stays open; ``close()``, or leaving a ``with`` block, gives its memory and threads back.
    """

    service: Service
    info: EndpointInfo

    def predict(self, text: Any, *, scores: bool = False) -> Any:
        """The answer to a text (a mapping), or to a list of texts (a list of mappings)."""
        task = registry.get("tasks", self.info.task)
        examples = task.request({"texts": text} if isinstance(text, list) else {"text": text})
        answers = [task.answer(made.prediction, scores=scores) for made in self._engine.predict_now(examples)]
        return answers if isinstance(text, list) else answers[0]

    @cached_property
    def _engine(self) -> Engine | WritingEndpoint:
        from luthier.stages.serve.writing import open_export

        return open_export(self.info.folder)

    def close(self) -> None:
        """Closes the graph; the next call opens it again."""
        opened: Engine | WritingEndpoint | None = self.__dict__.pop("_engine", None)
        if opened is not None:
            opened.close()

    def __enter__(self) -> Endpoint:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Closes it."""
        self.close()


def _spec(sections: dict[str, dict[str, Any]], **top: Any) -> Any:
    """Keywords as a spec; what is empty is left to the plan."""
    return make_spec({key: value for key, value in (top | sections).items() if value})


def _data_and_prepare(settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The keywords of ``prepare`` by section. ``seed`` is a field of both: it seeds the split, and made data where there is some."""
    data = {name: value for name, value in settings.items() if name in DataPlan.model_fields}
    for role in ("train", "validation", "test"):
        if role in data:
            listed = data[role] if isinstance(data[role], list | tuple) else [data[role]]
            data[role] = [str(name) if isinstance(name, os.PathLike) else name for name in listed]
    names = [name for role in ("train", "validation", "test") for name in data.get(role, ())]
    if not any(isinstance(name, str) and name.startswith("made:") for name in names):
        data.pop("seed", None)
    rest = {name: value for name, value in settings.items() if name not in DataPlan.model_fields or name in PreparePlan.model_fields}
    return {"data": data, "prepare": rest}


def prepare(data: Any, *, name: str = "", task: str = "", model: str | Path = "", home: str | Path = "", **settings: Any) -> Dataset:
    """A dataset from a file, a list of files (names or ``Path``) or ``made:NAME``. ``settings``: fields of the plan's ``data`` and
    ``prepare``; ``seed`` decides the split, and with ``made:NAME`` also which data is made.
    """
    service = Service(home)
    plan = service.plan(_spec(_data_and_prepare(settings | {"train": data}), name=name, task=task, model=str(model)))
    return Dataset(service, service.prepare(plan))


def train(data: Dataset, *, model: str | Path = "", **settings: Any) -> Model:
    """A model tuned on a dataset. ``settings``: fields of the plan's ``train``."""
    plan = data.service.plan(_spec({"train": settings}, model=str(model)), data.artifact)
    return Model(data.service, data.service.train(plan, data.artifact))


def evaluate(model: Model, data: Dataset | None = None, **settings: Any) -> Evaluation:
    """What the model is worth on the test rows of the dataset it was tuned from (``data``, if given, must be that one)."""
    from luthier.core.errors import InputError

    if data is not None and data.id not in model.artifact.parents:
        raise InputError(f"{model.id} was not tuned from {data.id}", "a model is evaluated on the test rows kept apart from its training")
    plan = model.service.plan(_spec({"evaluate": settings}), model.artifact)
    return Evaluation(model.service, model.service.evaluate(plan, model.artifact))


def export(model: Model | Evaluation, evaluation: Evaluation | None = None, **settings: Any) -> Export:
    """Graphs of an evaluated model."""
    service = model.service
    judged = (evaluation or model).artifact
    judged = judged if judged.kind == "evaluation" else service.evaluation_of(judged.id)
    return Export(service, service.export(service.plan(_spec({"export": settings}), judged), judged))


def deploy(export: Export, endpoint: str, *, force: bool = False) -> Endpoint:
    """An endpoint that answers with the export, if the gate passes."""
    return Endpoint(export.service, export.service.deploy(export.artifact, endpoint, force=force))


def run(recipe: str | Path | Plan, *, home: str | Path = "") -> RunResult:
    """A whole recipe."""
    service = Service(home)
    return service.run(recipe if isinstance(recipe, Plan) else service.plan(read_spec(Path(recipe))))
