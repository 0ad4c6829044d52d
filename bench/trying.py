"""What the training benches share: a plan, the machine's choice, a fit, and its accuracy on rows that it never saw."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from luthier.core import registry
from luthier.core.plan import Plan, TrainPlan
from luthier.core.ports import Task
from luthier.core.types import Example
from luthier.stages.train.threads import environment
from real_data import base_model, the_task


def use_environment() -> None:
    """The variables of a stage's process; must come before torch."""
    os.environ.update(environment(Plan(name="bench", task="text-classification", model="all-minilm-l6-v2")))


def plan_of(method: str, effort: str, **changes: Any) -> TrainPlan:
    """The plan that ``luthier run`` would make."""
    return TrainPlan(method=method, effort=effort, **{**registry.get("methods", method).defaults(effort), **changes})  # type: ignore[arg-type]


class Setting:
    """Encoded training and test rows of one data set."""

    def __init__(
        self,
        train: Sequence[Example],
        test: Sequence[Example],
        validation: Sequence[Example] = (),
        *,
        task: Task | None = None,
        plan: TrainPlan | None = None,
        base: Path | None = None,
    ) -> None:
        from luthier.stages.train.stage import fitted_items

        self.task, self.base = task or the_task(), base or base_model()
        schema = self.task.schema([example.target for example in train])
        self.schema, self.train = fitted_items(self.task, self.base, schema, train, plan or TrainPlan())
        self.processor = self.task.processor(self.base, self.schema)
        self.test, self.test_examples = self.task.encode(test, self.processor, self.schema), test
        self.validation = self.task.encode(validation, self.processor, self.schema) if validation else []
        self.judged = validation

    def fit(self, plan: TrainPlan, seed: int, work: Path, **changes: Any) -> Any:
        """(result, seconds with everything: machine measured, features, training). ``work`` keeps the machine's choice from run to run."""
        from dataclasses import replace

        import torch

        from luthier.stages.train.fit import fit
        from luthier.stages.train.machine import choose
        from luthier.stages.train.request import FitRequest

        start = time.perf_counter()
        request = FitRequest(self.task, self.base, self.schema, plan, self.train, self.validation, self.judged, seed=seed)
        with tempfile.TemporaryDirectory() as own:
            machine = choose(request, Path(own), str(work))
            torch.set_num_threads(machine.threads)
            request = replace(request, int8=machine.int8, precision=machine.precision, device=machine.device, features=Path(own), **changes)
            result = fit(request)
        return result, time.perf_counter() - start

    def score(self, model: Any, metric: str) -> float:
        """A metric on the test rows."""
        from luthier.stages.inference import predict
        from luthier.stages.train.judging import judge

        outputs = predict(self.task, model, self.test)
        return judge(self.task, self.test_examples, outputs, self.schema, metric).value
