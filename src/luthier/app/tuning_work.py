"""One fine-tuning job from its claim to its end: prepare, train, evaluate, the gate, export, a name; every step can be done again."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from luthier.app import tuning_results
from luthier.app.checkpoints import Checkpoints
from luthier.app.fine_tuning import Said, decided_values
from luthier.app.service import Service
from luthier.app.shown import Shown
from luthier.app.tuning_reporter import Reporter
from luthier.app.tuning_sinks import open_sinks
from luthier.app.tuning_spec import Intent
from luthier.app.tunings import Tunings
from luthier.core.errors import KILLED, OUT_OF_MEMORY, Conflict, GateRefused, JobFailed, LuthierError, NoSpace, Overloaded, Stopped
from luthier.core.events import CheckpointWritten, Event, StageFinished
from luthier.core.tuning import TuningRequest
from luthier.core.types import Artifact
from luthier.store.tables import CHECKPOINTS, TUNED_MODELS

LOG = logging.getLogger("luthier.worker")
MOST_ATTEMPTS = 50
"""A job that was taken over so often kills its runners: it is failed, so that others get their turn."""

WAIT_S = 30.0
"""How long a job waits for what goes away by itself: a full disk, a store of files that does not answer."""

AGAIN_S = 0.5
"""Half of the first wait after a stage was killed; it doubles with every further time."""

MOST_DEATHS = 8
"""So often may the process of a job's stage be killed for memory without getting any further, before the job fails.

A kill by others says less against the job: then ``MOST_ATTEMPTS`` is the limit.
"""


class Lost(Exception):
    """Another worker holds the job now: nothing may be written any more."""


class Work:
    """One claimed job. ``run`` blocks; ``stop`` may be called from another thread."""

    def __init__(self, home: str, row: dict[str, Any], token: str, tunings: Tunings) -> None:
        self.row, self.token, self.tunings = row, token, tunings
        self.job = str(row["id"])
        self.service = Service(home, workspace=row["workspace"])
        self.tuning = self.service.fine_tuning
        self.name = model_name(row)
        self.reporter = Reporter(self.job, self.name, Checkpoints(self.service), self._say, self._change)
        self.service.sinks += [self.reporter.take, self._heed]
        self.deaths = int(row["results"].get("deaths", 0))
        self.wish = ""
        self.retry_in_s = 0.0
        self._lost = threading.Event()

    def stop(self, wish: str) -> None:
        """Ends the stage that runs in good order; ``wish``: cancel, pause, or requeue (the worker ends)."""
        self.wish = self.wish or wish
        self.service.stop()

    def lose(self) -> None:
        """Another worker took the job over: ends without a word."""
        self._lost.set()
        self.stop("lost")

    def _say(self, message: str, data: dict[str, Any] | None = None, **options: Any) -> None:
        if not self._lost.is_set():
            self.tuning.say(self.job, message, data, **options)

    def _change(self, **values: Any) -> None:
        if self._lost.is_set() or not self.tunings.change(self.job, self.token, **values):
            raise Lost(self.job)

    def run(self) -> None:
        """Does the job; whatever happens, its state says so (unless the lease was lost)."""
        try:
            if self.row["attempts"] > MOST_ATTEMPTS:
                raise JobFailed(f"the job was started {self.row['attempts']} times and its runner died each time", "see the worker's log")
            self._run()
        except (Lost, Stopped):
            self._stopped()
        except Conflict as error:
            self._wait(error, 2.0)
        except (NoSpace, Overloaded) as error:
            self._wait(error, WAIT_S)
        except JobFailed as error:
            self._killed(error) if error.cause_code in (KILLED, OUT_OF_MEMORY) else self._fail(error)
        except LuthierError as error:
            self._fail(error)
        except SQLAlchemyError:
            raise  # the worker waits until the database is back, and takes the job up again
        except Exception as error:
            LOG.exception("job %s failed by a defect", self.job)
            self._fail(JobFailed(f"{type(error).__name__}: {error}", "this is a defect of Luthier: the worker's log has more"))

    # -- the way --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        request = TuningRequest.model_validate(self.row["request"])
        intent = self.tuning.intent(request, self.job, check_memory=False)
        intent.plan.train.seed = int(self.row["seed"])
        before = dict(self.row["results"])
        values = decided_values(request, intent)
        self._change(**values | {"results": before | values["results"] | {"started": True}})
        if not before.get("started"):
            self._say("Fine-tuning job started")
        elif not before.get("waiting"):
            self._say("Fine-tuning job goes on where it was", {"attempt": self.row["attempts"]})
        service, plan = self.service, intent.plan
        self.reporter.keep = plan.train.keep_checkpoints
        sinks = open_sinks(service, self.row["integrations"], self.job)
        service.sinks.extend(sinks)
        run = self.job
        service.begin(run, plan)
        dataset = self.reporter.dataset = service.prepare(plan, run)
        model = service.train(plan, dataset, run)
        self._checkpoints_of(model)
        self._note(dataset=dataset.id, model=model.id, waiting=False)
        evaluation = service.evaluate(plan, model, run)
        self._judge(intent, evaluation)
        export = service.export(plan, evaluation, run)
        self._finish(intent, {"dataset": dataset, "model": model, "evaluation": evaluation, "export": export})

    def _heed(self, event: Event) -> None:
        """What is done for good (a stage, a checkpoint) ends the count of deaths."""
        if self.deaths and isinstance(event, StageFinished | CheckpointWritten):
            self.deaths = 0
            self._note(deaths=0)

    def _note(self, **values: Any) -> None:
        results = dict(self.tunings.get(self.job)["results"]) | values
        self._change(results=results)

    def _checkpoints_of(self, model: Artifact) -> None:
        """A training that was not run again, because an earlier job did exactly the same, lends this job its checkpoints."""
        if self.reporter.checkpoints.page(self.job, 1):
            return
        # By the names of the artifact, not by the tuned models: their owner may have deleted the earlier one's.
        names = self.service.workspace.artifacts.manifest(model.id).get("names", ())
        twins = (name for name in names if name.startswith("ftjob-") and name != self.job)
        found = next((rows for rows in (self.reporter.checkpoints.page(name, 10) for name in twins) if rows), [])
        for row in reversed(found):
            step = int(row["step"])
            own = {key: value for key, value in row.items() if key not in ("seq", "id")}
            own |= {"id": tuning_results.file_id(self.job, f"ckpt-{step}").replace("file-", "ftckpt_"), "job": self.job}
            own |= {"name": f"{self.name}:ckpt-step-{step}", "created_at": time.time()}
            try:
                with self.tunings.engine.begin() as connection:
                    connection.execute(insert(CHECKPOINTS).values(**own))
            except IntegrityError:
                continue

    def _judge(self, intent: Intent, artifact: Artifact) -> None:
        """The evaluation as events and a file; raises ``GateRefused`` that says by how much a bar was missed."""
        from luthier.stages.evaluate import gate

        evaluation = self.service.evaluation(artifact)
        passed, reasons = gate.decide(evaluation, intent.plan.evaluate, None)
        self._say(tuning_results.sentence(evaluation), tuning_results.headline(evaluation), type="metrics")
        model = self.service.artifact(self.tunings.get(self.job)["results"]["model"])
        made = [
            self._result("step_metrics.csv", tuning_results.step_metrics(model)),
            self._result("evaluation.json", tuning_results.evaluation_file(evaluation, reasons)),
        ]
        tokens = _tokens(model)
        self._change(result_files=made, trained_tokens=tokens)
        self._note(
            evaluation=artifact.id, scores=tuning_results.headline(evaluation)["scores"], gate={"passed": passed, "reasons": reasons}
        )
        if not passed:
            raise GateRefused(
                "the model did not pass its gate: " + "; ".join(reasons), "give more or better examples, or lower evaluate.bars"
            )

    def _result(self, name: str, data: bytes) -> str:
        identity = tuning_results.file_id(self.job, name)
        return str(self.service.files.put(identity, name, "fine-tune-results", data).id)

    def _finish(self, intent: Intent, made: dict[str, Artifact]) -> None:
        row = {
            "workspace": self.row["workspace"],
            "name": self.name,
            "job": self.job,
            "base": intent.base.name,
            "task": intent.plan.task,
            "model": made["model"].id,
            "evaluation": made["evaluation"].id,
            "export": made["export"].id,
            "created_at": time.time(),
        }
        try:
            with self.tunings.engine.begin() as connection:
                connection.execute(insert(TUNED_MODELS).values(**row))
        except IntegrityError:
            pass  # an earlier try came as far as this
        self._note(**{kind: artifact.id for kind, artifact in made.items()})
        self.service.end(self.job, "succeeded")
        said: tuple[Said, ...] = (
            (f"New fine-tuned model created: {self.name}", {"model": self.name}),
            ("The job has successfully completed", {}),
        )
        told = self.tuning.moved(self.job, "running", "succeeded", *said)
        if not self.tunings.end(self.job, self.token, "succeeded", told, fine_tuned_model=self.name, finished_at=time.time(), error={}):
            raise Lost(self.job)
        self.tuning.notify(self.job, "succeeded")

    # -- other ends -----------------------------------------------------------------------------------------------

    def _stopped(self) -> None:
        new: Any = {"cancel": "cancelled", "pause": "paused"}.get(self.wish, "queued")
        if self._lost.is_set():
            return
        ended = {"finished_at": time.time()} if new == "cancelled" else {}
        told = self.tuning.moved(self.job, "running", new) if new != "queued" else []
        if self.tunings.end(self.job, self.token, new, told, **ended):
            if new != "queued":
                self.service.end(self.job, new)
            self.tuning.notify(self.job, new)

    def _wait(self, error: LuthierError, seconds: float) -> None:
        """Back to the queue: what stands in the way goes away by itself (other work, a full disk, a store that is away)."""
        if not isinstance(error, Conflict):
            LOG.warning("job %s waits: %s", self.job, error.message)
            try:
                self._say(f"The job waits: {error.message}", {"hint": error.hint}, level="warn")
            except Exception:  # noqa: BLE001 - the journal lies on the same full disk
                LOG.warning("job %s: not even the event could be written", self.job)
        self._requeue(seconds)

    def _killed(self, error: JobFailed) -> None:
        """The stage's process was killed, which says nothing of the work: it goes on where it was, unless that happens again and again."""
        deaths, memory = self.deaths + 1, error.cause_code == OUT_OF_MEMORY
        if deaths > (MOST_DEATHS if memory else MOST_ATTEMPTS):
            said = f"{error.message}, {deaths} times without getting any further"
            less = "give the worker more memory, or ask for less: train.method lora, a smaller batch_size"
            self._fail(JobFailed(said, less if memory else "find out who kills it: the worker's log says when", KILLED))
            return
        self._say(f"{error.message[:1].upper()}{error.message[1:]}; the job goes on where it was", {"deaths": deaths}, level="warn")
        self._requeue(min(AGAIN_S * 2**deaths, WAIT_S), deaths=deaths)

    def _requeue(self, seconds: float, **noted: Any) -> None:
        """Back to the queue, for another try in so many seconds."""
        self.retry_in_s = seconds
        results = dict(self.tunings.get(self.job)["results"]) | {"waiting": True} | noted
        if self.tunings.end(self.job, self.token, "queued", results=results):
            self.tuning.notify(self.job, "queued")

    def _fail(self, error: LuthierError) -> None:
        LOG.info("job %s failed: %s", self.job, error.message)
        param = getattr(error, "path", "") or getattr(error, "field", "") or ("training_file" if error.code == "invalid_input" else "")
        words = Shown(self.service.workspace).text(error.message)
        said = {"code": error.code, "message": words, "param": param, "hint": error.hint}
        told = self.tuning.moved(self.job, "running", "failed", (f"The job failed: {words}", said))
        if self.tunings.end(self.job, self.token, "failed", told, error=said, finished_at=time.time()):
            self.service.end(self.job, "failed")
            self.tuning.notify(self.job, "failed")


def model_name(row: dict[str, Any]) -> str:
    """``ft:{base}:{organization}:{suffix}:{id}``: what callers name the tuned model by."""
    from luthier.app.tuning_objects import ORGANIZATION

    base = str(row["model"]).split(":")[1] if str(row["model"]).startswith("ft:") else str(row["model"])
    suffix = str(row["suffix"]).replace(" ", "-")
    return f"ft:{base}:{ORGANIZATION}:{suffix}:{str(row['id']).removeprefix('ftjob-')[:12]}"


def _tokens(model: Artifact) -> int:
    from luthier.store import files

    path = Path(model.path) / "training.json"
    return int(files.read_json(path).get("tokens", 0)) if path.is_file() else 0
