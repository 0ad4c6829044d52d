"""The memory of a search: trials with their values, in tables of Optuna's own, and which settings come next.

Optuna's tables have a revision table of the same name as ours, so they lie apart: in ``searches.db`` beside a SQLite database, in the
schema ``searches`` of a PostgreSQL. Which settings come next follows from the seed, the number of the trial and the values before it.
"""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import make_url, text

from luthier.core.errors import Conflict
from luthier.core.plan import Plan
from luthier.core.search import Axis
from luthier.core.types import content_id
from luthier.store.workspace import Workspace

SCHEMA = "searches"
_STATES = {"COMPLETE": "succeeded", "PRUNED": "ended early", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}


class Study:
    """The study of one search. Values are turned so that the greatest is the best."""

    def __init__(self, workspace: Workspace, asked: Any, plan: Plan) -> None:
        import optuna

        from luthier.core import registry

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.axes: tuple[Axis, ...] = asked.axes
        self.seed = int(asked.seed)
        self.metric = plan.train.metric or registry.get("tasks", plan.task).primary_metric
        self._start = max(4, int(asked.trials) // 4)
        self._study = optuna.create_study(
            study_name=f"{workspace.name}/{asked.title}",
            storage=_storage(workspace),
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=self._start),
        )
        self._same(asked, plan)
        if not self._study.get_trials(deepcopy=False):
            self._study.enqueue_trial(self._own(plan))

    def _same(self, asked: Any, plan: Plan) -> None:
        """A name is one search: what was tried under other conditions would mislead it."""
        about = plan.model_dump(mode="json", exclude={"origins", "notes", "estimates", "base", "name"})
        said = content_id([about, [axis.as_text() for axis in self.axes], [axis.field for axis in self.axes], self.seed, self.metric])
        known = self._study.user_attrs.get("asked", said)
        if known != said:
            raise Conflict(
                f"{asked.title!r} is the name of another search: recipe, axes or seed differ", "give this one a --name of its own"
            )
        self._study.set_user_attr("asked", said)

    def _own(self, plan: Plan) -> dict[str, Any]:
        """The recipe's own values are the first trial, as far as the axes hold them."""
        values = {axis.field: _field(plan, axis.field) for axis in self.axes}
        return {axis.field: _plain(axis, values[axis.field]) for axis in self.axes if axis.holds(values[axis.field])}

    @property
    def finished(self) -> int:
        """Trials that are over, however they ended."""
        return sum(one.state.is_finished() for one in self._study.get_trials(deepcopy=False))

    def next(self) -> tuple[int, list[str]]:
        """The trial to make now, its number from 0 and its settings: one that was interrupted, else a new one."""
        import optuna

        going = [one for one in self._study.get_trials(deepcopy=False) if one.state.name == "RUNNING"]
        if going and set(going[0].params) == {axis.field for axis in self.axes}:
            return going[0].number, self._settings(going[0].params)
        if going:  # killed between the row of the trial and that of its values
            self._study.tell(going[0].number, state=optuna.trial.TrialState.FAIL)
        number = len(self._study.get_trials(deepcopy=False))
        digest = hashlib.blake2b(f"{self.seed}/{number}".encode(), digest_size=4).digest()
        self._study.sampler = optuna.samplers.TPESampler(seed=int.from_bytes(digest), n_startup_trials=self._start)
        trial = self._study.ask({axis.field: _distribution(axis) for axis in self.axes})
        return trial.number, self._settings(trial.params)

    def _settings(self, params: dict[str, Any]) -> list[str]:
        return [axis.setting(axis.values[int(params[axis.field])] if axis.kind == "choice" else params[axis.field]) for axis in self.axes]

    def is_bad(self, number: int, epoch: int, value: float) -> bool:
        """Keeps the value of an epoch; whether it is below the median of what earlier trials had reached by then."""
        import optuna

        frozen = self._study.get_trials(deepcopy=False)[number]
        trial = optuna.trial.Trial(self._study, frozen._trial_id)
        if epoch not in frozen.intermediate_values:  # known already when the trial goes on after a kill
            trial.report(value, epoch)
        return bool(trial.should_prune())

    def succeeded(self, number: int, training: dict[str, Any], model: str, run: str) -> str:
        """The trial's value is that of its best epoch."""
        value = float(training["best_metric"])
        for name, said in (("model", model), ("run", run), ("seconds", training["seconds"]), ("epochs", training["epochs"])):
            self._attribute(number, name, said)
        self._attribute(number, "higher_is_better", training["higher_is_better"])
        self._study.tell(number, value if training["higher_is_better"] else -value)
        return f"{self.metric} {value:.4f} on validation rows, {training['seconds']:.0f} s"

    def pruned(self, number: int) -> str:
        """Ended early."""
        import optuna

        self._study.tell(number, state=optuna.trial.TrialState.PRUNED)
        return "ended early: at this point the others were better"

    def failed(self, number: int, reason: str) -> str:
        """It could not be done; the search goes on."""
        import optuna

        self._attribute(number, "error", reason[:500])
        self._study.tell(number, state=optuna.trial.TrialState.FAIL)
        return f"failed: {reason}"

    def _attribute(self, number: int, name: str, value: Any) -> None:
        self._study._storage.set_trial_user_attr(self._study.get_trials(deepcopy=False)[number]._trial_id, name, value)

    def table(self) -> list[dict[str, Any]]:
        """A row a trial: ``trial`` (from 1), ``state``, ``value``, ``epochs``, ``seconds``, ``settings``, ``values``, ``curve`` ..."""
        return [self._row(one) for one in self._study.get_trials(deepcopy=False) if one.state.name != "WAITING"]

    def _row(self, one: Any) -> dict[str, Any]:
        sign = 1.0 if one.user_attrs.get("higher_is_better", self._higher()) else -1.0
        settings = self._settings(one.params) if set(one.params) >= {axis.field for axis in self.axes} else []
        return {
            "trial": one.number + 1,
            "state": _STATES[one.state.name],
            "value": sign * one.value if one.state.name == "COMPLETE" else None,
            "curve": {str(epoch): sign * value for epoch, value in sorted(one.intermediate_values.items())},
            "settings": settings,
            "values": {axis.field: _said(axis, one.params[axis.field]) for axis in self.axes if axis.field in one.params},
            **{name: one.user_attrs[name] for name in ("epochs", "seconds", "model", "run", "error") if name in one.user_attrs},
        }

    def _higher(self) -> bool:
        trials = self._study.get_trials(deepcopy=False)
        known = [one.user_attrs["higher_is_better"] for one in trials if "higher_is_better" in one.user_attrs]
        return bool(known[0]) if known else True

    def best(self) -> dict[str, Any]:
        """The row of the best trial; ``{}`` when none succeeded."""
        done = [one for one in self._study.get_trials(deepcopy=False) if one.state.name == "COMPLETE"]
        return self._row(max(done, key=lambda one: (one.value, -one.number))) if done else {}


def _storage(workspace: Workspace) -> Any:
    from optuna.storages import RDBStorage

    url = make_url(workspace.database)
    if url.get_backend_name() == "sqlite":
        place = workspace.root / "searches.db"
        return RDBStorage(f"sqlite:///{place}", engine_kwargs={"connect_args": {"timeout": 30}})
    with workspace.engine().begin() as connection:
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    apart = url.update_query_dict({"options": f"-csearch_path={SCHEMA}"})
    return RDBStorage(apart.render_as_string(hide_password=False))


def _distribution(axis: Axis) -> Any:
    """Choices by their place: Optuna's own take no lists."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.kind == "choice":
        return CategoricalDistribution(list(range(len(axis.values))))
    if axis.kind == "int":
        return IntDistribution(int(axis.low), int(axis.high))
    return FloatDistribution(axis.low, axis.high, log=axis.kind == "log")


def _field(plan: Plan, path: str) -> Any:
    section, _, name = path.partition(".")
    return getattr(getattr(plan, section), name)


def _plain(axis: Axis, value: Any) -> Any:
    if axis.kind == "choice":
        return axis.values.index(value)
    return int(value) if axis.kind == "int" else float(value)


def _said(axis: Axis, value: Any) -> Any:
    return axis.values[int(value)] if axis.kind == "choice" else value
