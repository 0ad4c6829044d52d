"""What an evaluation is asked for must be possible with these labels and rows; said before anything is computed."""

from __future__ import annotations

from luthier.core.errors import SpecError, UnknownName
from luthier.core.plan import EvaluatePlan
from luthier.core.types import Schema
from luthier.stages.evaluate import crossvalidate
from luthier.stages.evaluate.subject import Subject


def check(subject: Subject) -> None:
    """Raises ``SpecError`` for costs that cannot be used and for more folds than there are groups of rows."""
    plan = subject.job.plan.evaluate
    check_costs(plan, subject.schema)
    if plan.folds > 1:
        crossvalidate.check([*subject.train, *subject.validation], plan.folds)


def check_costs(plan: EvaluatePlan, schema: Schema) -> None:
    """Raises ``SpecError`` for a cost of a label that does not exist, and for costs where a row has several labels."""
    if not plan.costs:
        return
    if schema.get("multi_label"):
        raise SpecError("evaluate.costs", "is for one label a row, but these rows can have several", "leave evaluate.costs out")
    labels = set(schema.get("labels", ()))
    for name in dict.fromkeys([*plan.costs, *(answer for row in plan.costs.values() for answer in row)]):
        if name not in labels:
            error = UnknownName.among("label", name, labels)
            raise SpecError("evaluate.costs", error.message, error.hint)
