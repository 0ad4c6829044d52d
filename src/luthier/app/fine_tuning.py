"""Fine-tuning jobs as their owner sees them: create, list, look at, cancel, pause, resume, delete. A worker does the work."""

from __future__ import annotations

import contextlib
import secrets
import time
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import ValidationError

from luthier.app import creating, remote_fields, tuning_objects, tuning_sinks, workers
from luthier.app.creating import Post
from luthier.app.stopping import MEANT, Stop, Wish, move
from luthier.app.tuning_spec import Intent, find_base, intend
from luthier.app.tunings import Tunings
from luthier.core.errors import Conflict, Forbidden, LuthierError, NoSpace, Overloaded, SpecError
from luthier.core.events import TuningMoved, TuningSaid
from luthier.core.plan import TrainPlan
from luthier.core.tuning import FINAL, State, TuningRequest

if TYPE_CHECKING:
    from luthier.app.service import Service

PRIORITY = 10
"""The highest priority that a key without ``admin`` may ask for."""

Said: TypeAlias = tuple[str, dict[str, Any]]
"""A message to a job's owner, and its data."""

Told: TypeAlias = list[dict[str, Any]]
"""Rows of the journal."""


class FineTuning:
    """The jobs of one workspace."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.rows = Tunings(service.workspace.engine(), service.workspace.name)

    # -- create ---------------------------------------------------------------------------------------------------

    def create(self, body: dict[str, Any], *, repeated: bool = False, idempotency: str = "", admin: bool = True) -> dict[str, Any]:
        """A job from the body of ``POST /fine_tuning/jobs``; everything that cannot work is refused now.

        ``repeated``: the client says that this may be a repetition (clients repeat a POST whose answer they did not get, without a key);
        a job of exactly this request that is younger than ten minutes is then the answer. ``idempotency``: a key of the caller's own, known
        for a day; raises ``KeyReused`` when it came with another request. ``admin``: whether the caller may go before other workspaces.
        """
        request = _form(body)
        if abs(request.priority) > PRIORITY and not admin:
            raise Forbidden(f"priority: {request.priority} needs the scope admin", f"with train it is -{PRIORITY} to {PRIORITY}")
        post = Post(body, idempotency, repeated)
        known = creating.known(self.rows.engine, self.rows.workspace, post)
        return tuning_objects.job(known or self._create(request, post))

    def _create(self, request: TuningRequest, post: Post) -> dict[str, Any]:
        most = self._most()
        with self.rows.engine.connect() as connection:
            creating.check_quota(connection, self.rows.workspace, most)
        identity = f"ftjob-{secrets.token_hex(12)}"
        tuning_sinks.check(request.integrations or ())
        remote_fields.check(request.model_dump())
        find_base(self.service.workspace, request.model, self.service.models)
        ready = self._files_ready(request)
        intent = self.intent(request, identity) if ready else None
        names = " and ".join(name for name in (request.training_file, request.validation_file) if name)
        said: list[Said] = [(f"Created fine-tuning job: {identity}", {}), (f"Validating training file: {names}", {})]
        if intent is not None:
            said.append(("Files validated, moving job to queued state", {"task": intent.decision.task, "why": intent.decision.why}))
        told = self.service.journal.rows([TuningSaid(job=identity, message=message, data=data) for message, data in said])
        return creating.create(self.rows.engine, _row(self.rows.workspace, identity, request, post.body, intent), post, told, most)

    def admit(self, row: dict[str, Any]) -> None:
        """Queues a job whose files have been checked by now, or fails it with the file's faults; called by workers."""
        request, job = TuningRequest.model_validate(row["request"]), str(row["id"])
        try:
            if not self._files_ready(request):
                return
            values = decided_values(request, self.intent(request, job))
        except (NoSpace, Overloaded):
            return  # the disk is full, or the store of files does not answer: later
        except LuthierError as error:
            said = {"code": error.code, "message": error.message, "param": getattr(error, "path", ""), "hint": error.hint}
            told = self.moved(job, "validating_files", "failed", (f"The job failed: {error.message}", said))
            if self.rows.move_free(job, "failed", told, error=said, finished_at=time.time()):
                self.notify(job, "failed")
            return
        told = self.moved(job, "validating_files", "queued", ("Files validated, moving job to queued state", values["results"]))
        self.rows.move_free(job, "queued", told, **values)

    def _files_ready(self, request: TuningRequest) -> bool:
        """Whether every file was checked; raises ``SpecError`` with the file's own faults when one is no training data."""
        ready = True
        for field in ("training_file", "validation_file"):
            name = getattr(request, field)
            if not name:
                continue
            info = self.service.files.get(name)
            if info.purpose != "fine-tune":
                raise SpecError(field, f"{name} has the purpose {info.purpose!r}", "upload it with purpose fine-tune")
            if info.status == "error":
                raise SpecError(field, f"{name} is not valid: {info.status_details}", "correct these rows and upload the file again")
            ready = ready and info.status == "processed"
        return ready

    def intent(self, request: TuningRequest, name: str, *, check_memory: bool = True) -> Intent:
        """What the request comes to, with its files at hand."""
        store = self.service.files
        paths = {"train": str(store.path(request.training_file))}
        if request.validation_file:
            paths["validation"] = str(store.path(request.validation_file))
        facts = store.facts(request.training_file)
        _same_kind(facts, store.facts(request.validation_file) if request.validation_file else facts)
        if facts.get("trainable_rows") == 0:
            raise SpecError(
                "training_file", "no message would be trained: every assistant message has weight 0", "set weight 1, or leave it out"
            )
        intent = intend(self.service, request, facts, paths, name, check_memory=False)
        if check_memory and request.executor == "local":
            self._carried(intent)
        return intent

    def _carried(self, intent: Intent) -> None:
        """Refuses what no worker can ever carry, as far as is known. What only has no room now waits in the queue."""
        needed, most = float(intent.plan.estimates.get("memory_bytes", 0.0)), workers.largest(self.rows.engine)
        if needed > most:
            method = intent.plan.train.method
            said = f"{intent.base.name} needs about {needed / 2**30:.1f} GiB to tune by {method}"
            said += f"; no worker gives more than {most / 2**30:.1f} GiB"
            raise SpecError("model", said, "choose train.method=lora or head, or a smaller model (luthier models)")

    def _most(self) -> int:
        from luthier.app.workspaces import Workspaces

        return int(Workspaces(self.rows.engine).settings(self.rows.workspace).get("jobs_queued", 0) or 0)

    # -- look -----------------------------------------------------------------------------------------------------

    def get(self, job: str) -> dict[str, Any]:
        """The job; raises ``UnknownName``."""
        return tuning_objects.job(self.rows.get(job))

    def list(self, limit: int = 20, after: str = "", metadata: dict[str, str] | None = None, *, without: bool = False) -> dict[str, Any]:
        """Jobs newest first, from behind ``after``; with all of ``metadata``, or (``without``) with none."""
        found = self.rows.page(limit + 1, after, metadata, without=without)
        return tuning_objects.page([tuning_objects.job(row) for row in found], limit)

    def events(self, job: str, limit: int = 20, after: str = "") -> dict[str, Any]:
        """What the job said, newest first, from behind the event ``after``."""
        self.rows.get(job)
        before = tuning_objects.event_seq(after) if after else 0
        found = self.service.journal.last(limit + 1, about=job, names=[TuningSaid.name], before=before)
        return tuning_objects.page([tuning_objects.event(entry) for entry in found[::-1]], limit)

    def checkpoints(self, job: str, limit: int = 10, after: str = "") -> dict[str, Any]:
        """The job's checkpoints, newest first, from behind ``after``."""
        from luthier.app.checkpoints import Checkpoints

        self.rows.get(job)
        found = Checkpoints(self.service).page(job, limit + 1, after)
        return tuning_objects.page([tuning_objects.checkpoint(row) for row in found], limit)

    # -- act ------------------------------------------------------------------------------------------------------

    def cancel(self, job: str) -> dict[str, Any]:
        """Ends the job; what it reached stays as a checkpoint. Raises ``Conflict`` when it ended already."""
        return self._stop(self.stop(job, "cancel"))

    def pause(self, job: str) -> dict[str, Any]:
        """Halts the job after its present step; ``resume`` goes on from there."""
        return self._stop(self.stop(job, "pause"))

    def stop(self, job: str, wish: Wish) -> Stop:
        """The same for those who wait by themselves: the server, which must not hold a thread for each that waits."""
        return Stop(self, job, wish)

    def _stop(self, stop: Stop) -> dict[str, Any]:
        for rest in stop.waits():
            if stop.step():
                break
            time.sleep(rest)
        return self.get(stop.job)

    def settle(self, row: dict[str, Any]) -> None:
        """Makes a wish true whose job left its worker before that saw it (``Tunings.wished``); called by workers."""
        with contextlib.suppress(Conflict):  # somebody else did so just now
            move(self, row["id"], row["state"], MEANT[row["wish"]])

    def resume(self, job: str) -> dict[str, Any]:
        """Lets a paused job go on."""
        row = self.rows.get(job)
        if row["state"] != "paused":
            raise Conflict(f"job {job} is {row['state']}, not paused", "only a paused job can be resumed")
        new: State = "queued" if row["needs"] else "validating_files"  # it was paused before its files were checked
        self.rows.move_free(job, new, self.moved(job, "paused", new))
        return self.get(job)

    def delete(self, job: str) -> None:
        """Takes a finished job out of the lists; its model and files stay. Raises ``Conflict`` while it is not finished."""
        self.rows.remove(job)

    # -- telling --------------------------------------------------------------------------------------------------

    def say(self, job: str, message: str, data: dict[str, Any] | None = None, *, level: Any = "info", type: Any = "message") -> None:
        """Adds an event to the job."""
        self.service.journal.append([TuningSaid(job=job, message=message, data=data or {}, level=level, type=type)])

    def moved(self, job: str, old: str, new: str, *said: Said) -> Told:
        """What the journal says of a change of state, as rows that are written with it; ``said``: messages and their data."""
        told = said or (((f"The job has been {'resumed' if old == 'paused' else new}", {}),) if new != "succeeded" else ())
        level: Any = "error" if new == "failed" else "info"
        events = [TuningSaid(job=job, message=message, data=data, level=level) for message, data in told]
        return self.service.journal.rows([TuningMoved(job=job, old=old, new=new), *events])

    def notify(self, job: str, new: str) -> None:
        """Tells the job's sinks, where it runs here, and of an end the webhooks (they are told of each once)."""
        for sink in self.service.sinks:
            sink(TuningMoved(job=job, old="running", new=new))
        if new in FINAL:
            self.service.webhooks.notify(f"fine_tuning.job.{new}", {"id": job})
            self.rows.told(job)


def _same_kind(training: dict[str, Any], validation: dict[str, Any]) -> None:
    """Refuses a validation file of other rows than the training file's."""
    kinds = training.get("kind", "table"), validation.get("kind", "table")
    if kinds[0] != kinds[1]:
        raise SpecError(
            "validation_file", f"its rows are of the kind {kinds[1]}, those of the training file {kinds[0]}", "give both the same form"
        )


def _form(body: dict[str, Any]) -> TuningRequest:
    try:
        return TuningRequest.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        raise SpecError(path, first["msg"], "see docs/fine-tuning.md for the fields") from None


def _row(workspace: str, identity: str, request: TuningRequest, body: dict[str, Any], intent: Intent | None) -> dict[str, Any]:
    planned = intent.plan.train.seed if intent is not None else request.train.get("seed", TrainPlan().seed)
    decided: dict[str, Any] = {} if intent is None else decided_values(request, intent)
    return {
        "id": identity,
        "workspace": workspace,
        "state": "queued" if intent is not None else "validating_files",
        "model": request.model,
        "training_file": request.training_file,
        "validation_file": request.validation_file or "",
        "suffix": request.suffix or "",
        "seed": planned if request.seed is None else request.seed,
        "request": body,
        "metadata": request.metadata or {},
        "integrations": [one.model_dump(exclude_none=True) for one in request.integrations or ()],
        "priority": request.priority,
        "created_at": time.time(),
        "hyperparameters": request.asked.model_dump(exclude_none=True),
        "method": _method(request, request.asked.model_dump(exclude_none=True)),
    } | decided


def decided_values(request: TuningRequest, intent: Intent) -> dict[str, Any]:
    """What is known of a job once its files are checked."""
    return {
        "spec": intent.spec.model_dump(exclude_unset=True),
        "hyperparameters": intent.hyperparameters,
        "method": _method(request, intent.hyperparameters),
        "needs": {
            "memory_bytes": intent.plan.estimates.get("memory_bytes", 0.0),
            "executor": request.executor,
            "threads": intent.plan.train.threads,
            "device": intent.plan.train.device,
        },
        "results": {"task": intent.decision.task, "why": intent.decision.why},
    }


def _method(request: TuningRequest, hyperparameters: dict[str, Any]) -> dict[str, Any]:
    kind = request.method.type if request.method is not None else "supervised"
    return {"type": kind, kind: {"hyperparameters": hyperparameters}}
