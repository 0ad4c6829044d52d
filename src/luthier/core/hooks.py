"""What a task may have beside the shape of ``ports.Task``, and what holds where it has none: each function asks for one such thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from luthier.core.edits import Edit, applied
from luthier.core.plan import EvaluatePlan, TrainPlan
from luthier.core.ports import Judged, Task
from luthier.core.types import Arrays, Calibration, Example, Item, Prediction, Schema


def carried_of(task: Task) -> tuple[str, ...]:
    """``carried``: the names of an item's arrays that ``decode`` needs beside the graph's outputs (where each token stands in the text)."""
    return tuple(getattr(task, "carried", ()))


def exported(task: Task) -> bool:
    """``exported``: whether the task's models become graphs that serve; those of a task without are bases to tune."""
    return bool(getattr(task, "exported", True))


def validation_metric(task: Task) -> str:
    """``validation_metric``: what chooses the best checkpoint where the primary metric costs too much for that; else the primary one."""
    return str(getattr(task, "validation_metric", task.primary_metric))


def settings_of(task: Task, method: str, effort: str) -> dict[str, dict[str, Any]]:
    """``settings(method, effort)``: {section of the plan: {field: value}} that suit the task better than the method's own, where nobody
    says otherwise.
    """
    own = getattr(task, "settings", None)
    return dict(own(method, effort)) if own else {}


def pooled_at(task: Task, cut: int, depth: int) -> bool:
    """Whether what is cached below layer ``cut`` is one vector a text: the whole trunk, unless the task's ``pools`` is false (then every
    token has a vector of its own).
    """
    return bool(cut) and cut == depth and bool(getattr(task, "pools", True))


def classes_in(task: Task, items: Sequence[Item], schema: Schema) -> list[Any]:
    """``class_of(item, schema)``: a number, or [classes] of 0 and 1, for each item; else its ``labels``, and ``None`` where it has none."""
    own = getattr(task, "class_of", None)
    return [own(item, schema) if own else item.get("labels") for item in items]


def fitted(task: Task, schema: Schema, plan: TrainPlan) -> Schema:
    """``fitted(schema, plan)``: the schema with what the training plan decides of it."""
    own = getattr(task, "fitted", None)
    found: Schema = own(schema, plan) if own else schema
    return found


def counted(task: Task, batch: Mapping[str, Any], schema: Schema, weights: Any) -> float | None:
    """``counted(batch, schema, weights)``: what the mean loss of a batch is a mean over (learned tokens, rows, their classes' weights), so
    that losses of pieces can be added up; ``None`` for a task whose loss is no such mean. ``weights``: as ``loss`` gets them.
    """
    own = getattr(task, "counted", None)
    return None if own is None else float(own(batch, schema, weights))


def compares(task: Task) -> bool:
    """Whether the task's loss compares the model with the one that training starts from (``reference_of``)."""
    return hasattr(task, "reference")


def reference_of(task: Task, outputs: Arrays) -> Arrays:
    """``reference(outputs)``: arrays [items, ...] that each item carries of what the model that training starts from says of it."""
    own = getattr(task, "reference", None)
    found: Arrays = own(outputs) if own else {}
    return found


def calibrated(task: Task, judged: Judged, plan: EvaluatePlan) -> Calibration:
    """``calibrate(judged, plan)``: what validation rows teach about confidence that only the task knows; ``judged`` was decoded with what
    is known already.
    """
    own = getattr(task, "calibrate", None)
    found: Calibration = own(judged, plan) if own else {}
    return found


def edited(task: Task, example: Example, edits: Sequence[Edit]) -> Example:
    """``with_edits(example, edits)``: the example after replacements in its text; a task whose target holds places moves them."""
    own = getattr(task, "with_edits", None)
    found: Example = own(example, edits) if own else task.with_text(example, applied(task.text(example), edits))
    return found


def maskable(task: Task, example: Example) -> str:
    """``maskable(example)``: every text of an example, its target's too, where a target is text; else its text. Edits are places in it."""
    own = getattr(task, "maskable", None)
    return str(own(example)) if own else task.text(example)


def as_written(task: Task, prediction: Prediction, edits: Sequence[Edit]) -> Prediction:
    """``as_written(prediction, edits)``: the answer with its places in the text as it was before the edits."""
    own = getattr(task, "as_written", None)
    found: Prediction = own(prediction, edits) if own and edits else prediction
    return found


def worded(task: Task, example: Example) -> str:
    """``worded(example)``: the words whose language, length and frequency are measured; else the text. Of a picture its caption."""
    own = getattr(task, "worded", None)
    return str(own(example)) if own else task.text(example)


def beside(task: Task, item: Item) -> Arrays:
    """``beside``: names of an item's arrays that a model which writes needs beside the prompt's tokens (a picture's pixels)."""
    return {name: item[name] for name in getattr(task, "beside", ())}


def tabled(task: Task) -> tuple[str, ...]:
    """``tabled``: scores that stand in the table of contenders beside those that every task has there."""
    return tuple(getattr(task, "tabled", ()))
