"""Every use case, one method each; doors (CLI, REST, notebook) are a few lines over it. The only writer of state."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, insert, select, update

from luthier.app.admitting import admitted
from luthier.app.endpoints import EndpointInfo, Endpoints
from luthier.app.leases import Leases
from luthier.app.planning import make_plan
from luthier.app.runs import Runner, run_id
from luthier.catalog import cards
from luthier.core import registry
from luthier.core.errors import Conflict, GateRefused, NotPossible, Stopped, UnknownName
from luthier.core.events import (
    EndpointDeployed,
    EndpointRemoved,
    Event,
    RunFinished,
    RunStarted,
    StageProgressed,
)
from luthier.core.hooks import exported
from luthier.core.plan import Plan
from luthier.core.spec import Spec
from luthier.core.types import Artifact
from luthier.store import files
from luthier.store.journal import Journal
from luthier.store.tables import RUNS
from luthier.store.workspace import DEFAULT, Workspace

if TYPE_CHECKING:
    from luthier.app.batches import Batches
    from luthier.app.deployments import Deployments
    from luthier.app.files import Files
    from luthier.app.fine_tuning import FineTuning
    from luthier.app.labellings import Labellings
    from luthier.app.models import Models
    from luthier.app.rollouts import Rollouts
    from luthier.app.uploads import Uploads
    from luthier.app.webhooks import Webhooks
    from luthier.stages.watch.summary import WatchSummary


@dataclass
class RunResult:
    """What a whole run made; no export for a task whose models are bases to tune."""

    run: str
    dataset: Artifact
    model: Artifact
    evaluation: Artifact
    export: Artifact | None
    endpoint: EndpointInfo | None = None
    seconds: float = 0.0
    report: str = ""
    reasons: list[str] = field(default_factory=list)


class Service:
    """Luthier in one workspace. ``sinks`` are functions that take every event."""

    def __init__(self, home: str | Path = "", sinks: Sequence[Callable[[Event], None]] = (), workspace: str = DEFAULT) -> None:
        self.workspace = Workspace(home, workspace)
        self.sinks = list(sinks)
        self.card = ""  # the accelerator that its stages are to use, where a worker gave them one
        self._about = ""
        self._last_progress = 0.0

    @cached_property
    def journal(self) -> Journal:
        """The journal of the workspace."""
        return Journal(self.workspace.engine(), self.workspace.name)

    @cached_property
    def endpoints(self) -> Endpoints:
        """The endpoints of the workspace."""
        return Endpoints(self.workspace.engine(), self.workspace)

    @cached_property
    def leases(self) -> Leases:
        """The jobs of the workspace."""
        return Leases(self.workspace.engine(), self.workspace.name)

    @cached_property
    def files(self) -> Files:
        """Uploaded files."""
        from luthier.app.files import Files

        return Files(self.workspace)

    @cached_property
    def uploads(self) -> Uploads:
        """Files that come in parts."""
        from luthier.app.uploads import Uploads

        return Uploads(self.workspace, self.files)

    @cached_property
    def fine_tuning(self) -> FineTuning:
        """Fine-tuning jobs."""
        from luthier.app.fine_tuning import FineTuning

        return FineTuning(self)

    @cached_property
    def batches(self) -> Batches:
        """Files of requests that are answered when there is room."""
        from luthier.app.batches import Batches

        return Batches(self.workspace.engine(), self.workspace.name)

    @cached_property
    def labellings(self) -> Labellings:
        """Labels made with people."""
        from luthier.app.labellings import Labellings

        return Labellings(self)

    @cached_property
    def models(self) -> Models:
        """Everything that can be asked or tuned, by name."""
        from luthier.app.models import Models

        return Models(self)

    @cached_property
    def deployments(self) -> Deployments:
        """What the resource manager was asked to deploy."""
        from luthier.app.deployments import Deployments

        return Deployments(self)

    @cached_property
    def rollouts(self) -> Rollouts:
        """How endpoints go from one version to another."""
        from luthier.app.rollouts import Rollouts

        return Rollouts(self)

    @cached_property
    def webhooks(self) -> Webhooks:
        """Who is told when a job ends."""
        from luthier.app.webhooks import Webhooks

        return Webhooks(self.workspace)

    @cached_property
    def _runner(self) -> Runner:
        self.workspace.sweep_sometimes()
        return Runner(self.workspace, self.leases, self.emit, self.card)

    def emit(self, event: Event) -> None:
        """Journals an event (progress at most once a second) and hands it to the sinks."""
        if not isinstance(event, StageProgressed) or event.at - self._last_progress >= 1:
            if isinstance(event, StageProgressed):
                self._last_progress = event.at
            self.journal.append([event], about=self._about)
        for sink in self.sinks:
            sink(event)

    def stop(self) -> None:
        """Ends the stage that runs now in good order, from another thread; the one who waits for it gets ``Stopped``."""
        self._runner.stop()

    # -- plan and run ---------------------------------------------------------------------------------------------

    def plan(self, spec: Spec, start: Artifact | None = None, *, check_memory: bool = True) -> Plan:
        """What would happen. ``start`` is the artifact that the work begins from: its own plan holds where the spec is silent."""
        inherited = None
        if start is not None:
            inherited = Plan(**self.workspace.artifacts.manifest(start.id)["plan"])
            spec = spec.model_copy(
                update={"task": inherited.task, "model": inherited.model} | spec.model_dump(include=spec.model_fields_set)
            )
        return make_plan(spec, inherited=inherited, check_memory=check_memory)

    def run(self, plan: Plan) -> RunResult:
        """The whole path: prepare, train, evaluate, export, deploy. What is done already is reused; a killed run goes on."""
        start = time.time()
        with self.going(plan) as run:
            dataset = self.prepare(plan, run)
            model = self.train(plan, dataset, run)
            evaluation = self.evaluate(plan, model, run)
            export = self.export(plan, evaluation, run) if exported(registry.get("tasks", plan.task)) else None
            result = RunResult(run, dataset, model, evaluation, export, report=str(Path(evaluation.path) / "report.html"))
            if plan.deploy.endpoint and export:
                if plan.deploy.canary or plan.deploy.mirror:
                    self.rollouts.start(export, plan.deploy.endpoint, plan.deploy, force=plan.deploy.force)
                else:
                    self.deploy(export, plan.deploy.endpoint, force=plan.deploy.force)
                result.endpoint = self.endpoints.get(plan.deploy.endpoint)
            result.seconds = time.time() - start
        return result

    @contextlib.contextmanager
    def going(self, plan: Plan) -> Iterator[str]:
        """A run that begins, whatever the block does of it, and ends as the block does; gives its id."""
        run, start = run_id(plan), time.time()
        self.begin(run, plan)
        try:
            yield run
        except Conflict:
            raise  # somebody else is at it: the run is theirs
        except BaseException as error:
            self.end(run, "cancelled" if isinstance(error, KeyboardInterrupt | Stopped) else "failed")
            raise
        self.end(run, "succeeded")
        self.emit(RunFinished(run=run, seconds=time.time() - start))

    def begin(self, run: str, plan: Plan) -> None:
        """Writes the run as running; what follows is journaled as its own."""
        self._about = run
        row = {
            "workspace": self.workspace.name,
            "id": run,
            "name": plan.name,
            "state": "running",
            "plan": plan.model_dump(mode="json"),
            "created_at": time.time(),
        }
        with self.workspace.engine().begin() as connection:
            again = update(RUNS).where(self._is(run)).values(state="running", plan=row["plan"], finished_at=0.0)
            resumed = connection.execute(again).rowcount > 0
            if not resumed:
                connection.execute(insert(RUNS), [row | {"finished_at": 0.0}])
        self.emit(RunStarted(run=run, resumed=resumed, plan=plan.model_dump(mode="json")))

    def _is(self, run: str) -> ColumnElement[bool]:
        return and_(RUNS.c.workspace == self.workspace.name, RUNS.c.id == run)

    def end(self, run: str, state: str) -> None:
        """Writes how a run ended."""
        with self.workspace.engine().begin() as connection:
            connection.execute(update(RUNS).where(self._is(run)).values(state=state, finished_at=time.time()))

    def _base(self, plan: Plan) -> dict[str, str]:
        return {"base": str(cards.locate(cards.find(plan.model)))}

    def prepare(self, plan: Plan, run: str = "", *, parent: Artifact | None = None) -> Artifact:
        """A dataset from files. ``parent``: the dataset that they are a correction of."""
        parents = {"dataset": parent} if parent is not None else {}
        return self._runner.stage("prepare", plan, run or run_id(plan), parents, self._base(plan) | self._finder(plan))

    def _finder(self, plan: Plan) -> dict[str, str]:
        """The exported folder of the model that ``prepare.ner_model`` names; none for a folder or a spaCy model: prepare opens these."""
        name = plan.prepare.ner_model
        if not name or Path(name).exists():
            return {}
        try:
            return {"finder": self.export_of(name).path}
        except UnknownName:
            return {}

    def train(self, plan: Plan, dataset: Artifact, run: str = "") -> Artifact:
        """A model from a dataset. Costs that evaluate could not use are refused now, not after the training."""
        from luthier.stages.evaluate.checks import check_costs

        if plan.evaluate.costs:
            check_costs(plan.evaluate, files.read_json(Path(dataset.path) / "schema.json"))
        return self._runner.stage("train", plan, run or run_id(plan), {"dataset": dataset}, self._base(plan))

    def evaluate(self, plan: Plan, model: Artifact, run: str = "") -> Artifact:
        """An evaluation of a model on its dataset's test split, against the deployed one and any earlier one that the plan names."""
        others = self._base(plan)
        current = self._current(plan, model)
        if current:
            others["current"] = current
        if plan.evaluate.compare_to:
            others["earlier"] = self.evaluation_of(plan.evaluate.compare_to).path
        return self._runner.stage("evaluate", plan, run or run_id(plan), {"dataset": self._dataset(model), "model": model}, others)

    def export(self, plan: Plan, evaluation: Artifact, run: str = "") -> Artifact:
        """An export of an evaluated model; raises ``NotPossible`` for a task whose models are bases to tune."""
        if not exported(registry.get("tasks", plan.task)):
            reason = f"a model of {plan.task} is a base to tune and has no graph that serves"
            raise NotPossible(reason, "name its folder as the model of a task")
        artifacts = self.workspace.artifacts
        model = next(a for a in artifacts.lineage(evaluation.id) if a.kind == "model")
        parents = {"dataset": self._dataset(model), "model": model, "evaluation": evaluation}
        return self._runner.stage("export", plan, run or run_id(plan), parents)

    def _dataset(self, model: Artifact) -> Artifact:
        return next(a for a in self.workspace.artifacts.lineage(model.id) if a.kind == "dataset")

    def _current(self, plan: Plan, model: Artifact) -> str:
        """The evaluation's folder of the model that the endpoint answers with now ("" when there is none, or it is this model)."""
        for info in self.endpoints.list():
            if info.name == plan.deploy.endpoint and info.model_id != model.id:
                return str(self.workspace.artifacts.root / info.evaluation_id)
        return ""

    # -- artifacts ------------------------------------------------------------------------------------------------

    def artifact(self, name: str, kind: str = "") -> Artifact:
        """An artifact by id or by name (then the newest)."""
        return self.workspace.artifacts.get(name, kind)

    def evaluation_of(self, name: str) -> Artifact:
        """The newest evaluation of a model, or the evaluation itself; raises ``GateRefused`` when the model has none."""
        artifacts = self.workspace.artifacts
        found = artifacts.get(name) if name.startswith("evaluation-") else artifacts.get(name, "model")
        if found.kind == "evaluation":
            return found
        judged = [a for a in artifacts.all("evaluation") if found.id in a.parents]
        if not judged:
            raise GateRefused(f"{found.id} has no evaluation", f"luthier evaluate {found.id}")
        return judged[-1]

    def export_of(self, name: str) -> Artifact:
        """The newest export of a model (by id or name), or the export itself; raises ``GateRefused`` when there is none."""
        artifacts = self.workspace.artifacts
        if name.startswith("export-"):
            return artifacts.get(name)
        model = artifacts.get(name, "model")
        made = [a for a in artifacts.all("export") if model.id in a.parents]
        if not made:
            evaluation = self.evaluation_of(model.id)
            raise GateRefused(f"{model.id} has no export", f"luthier export {evaluation.id}")
        return made[-1]

    def evaluation(self, artifact: Artifact) -> dict[str, Any]:
        """What ``evaluation.json`` says."""
        found: dict[str, Any] = files.read_json(Path(artifact.path) / "evaluation.json")
        return found

    def runs(self) -> list[dict[str, Any]]:
        """Every run, newest first."""
        with self.workspace.engine().connect() as connection:
            rows = connection.execute(select(RUNS).where(RUNS.c.workspace == self.workspace.name).order_by(RUNS.c.created_at.desc())).all()
        return [dict(row._mapping) | {"jobs": self.leases.all(row.id)} for row in rows]

    # -- endpoints ------------------------------------------------------------------------------------------------

    def deploy(self, export: Artifact, endpoint: str, *, force: bool = False) -> EndpointInfo:
        """Makes an endpoint answer with an export, if the gate passes.

        ``force`` overrules a missed bar (never a missing evaluation) and is journaled.
        """
        what, passed = admitted(self, export, endpoint, force=force)
        info = self.endpoints.put(endpoint, **what._asdict())
        self.emit(EndpointDeployed(endpoint=endpoint, export=export.id, model=info.model_id, forced=not passed))
        return info

    def undeploy(self, endpoint: str) -> None:
        """Takes an endpoint away."""
        self.endpoints.remove(endpoint)
        self.emit(EndpointRemoved(endpoint=endpoint))

    def feedback(self, endpoint: str, identity: str, *, thumbs: str = "", right: Any = None, comment: str = "") -> None:
        """A person's judgement of an answer: ``right`` must be a label of the endpoint, the comment is kept masked."""
        from luthier.stages.serve import feedback
        from luthier.stages.serve.masking import Masking

        folder = self.endpoints.get(endpoint).folder
        schema, masking = feedback.schema_of(folder), Masking.of(folder)
        self.journal.append(
            [feedback.judgement(endpoint, identity, thumbs=thumbs, right=right, comment=comment, schema=schema, masking=masking)]
        )

    def watch(self, endpoint: str, window_s: float = 300.0) -> WatchSummary:
        """The last ``window_s`` seconds of an endpoint: rates, latency, answers, feedback, drift."""
        from luthier.stages.watch.summary import summarise

        info = self.endpoints.get(endpoint)
        return summarise(self.journal, endpoint, info.folder, time.time(), window_s, samples=self.workspace.samples, export=info.export_id)

    def model_table(self) -> list[dict[str, Any]]:
        """The catalog: each card with the bytes that tuning needs by each method, whether it can be used right now, and why not."""
        rows = []
        for card in cards.list_cards():
            usable, why_not = cards.availability(card)
            methods = () if card.architecture == "hosted" else ("full", "lora", "top", "head")
            memory = {method: cards.memory_bytes(card, method) for method in methods}
            rows.append(json.loads(card.model_dump_json()) | {"memory_bytes": memory, "usable": usable, "why_not": why_not})
        return rows
