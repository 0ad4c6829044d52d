"""Whether a graph answers like the trained model: logits, labels and the primary metric on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core import registry
from luthier.core.ports import Judged, Session, Task
from luthier.core.types import Arrays, Item
from luthier.stages import inference
from luthier.stages.carried import carry
from luthier.stages.evaluate import scoring
from luthier.stages.export.rows import Rows
from luthier.stages.serve.engine import cores

OUTPUT = "logits"
"""An output whose name ends so holds scores of classes: those are compared."""


@dataclass(frozen=True)
class Parity:
    """``logit_difference``: largest absolute; ``label_change``: share of rows answered otherwise; ``metric`` and what it lost."""

    rows: int
    logit_difference: float
    label_change: float
    metric: str
    value: float
    metric_loss: float

    def as_json(self) -> dict[str, Any]:
        """As it stands in ``export.json``."""
        return asdict(self)


@dataclass(frozen=True)
class Reference:
    """What the trained model answers on the evaluation rows."""

    outputs: Arrays
    labels: list[Any]
    metric: str
    value: float


def reference(task: Task, model: Any, rows: Rows) -> Reference:
    """The trained model's answers."""
    outputs = inference.predict(task, model, rows.items)
    labels, value = _judge(task, outputs, rows)
    return Reference(outputs, labels, task.primary_metric, value)


def run_items(task: Task, session: Session, items: Sequence[Item], size: int = 32) -> Arrays:
    """A session's outputs, in the order of ``items``; batches hold items of like length."""
    order = sorted(range(len(items)), key=lambda n: task.length(items[n]))
    parts: list[tuple[Any, dict[str, Any]]] = []
    for start in range(0, len(order), size):
        numbers = np.array(order[start : start + size])
        parts.append((numbers, session.run(task.collate([items[n] for n in numbers]))))
    return carry(task, items, inference.gather(parts, len(items)))


def compare(task: Task, runtime: str, folder: Path, rows: Rows, trained: Reference) -> Parity:
    """A runtime's graph against the trained model."""
    session = registry.get("runtimes", runtime).open(folder, "model", threads=cores())
    outputs = run_items(task, session, rows.items)
    labels, value = _judge(task, outputs, rows)
    return Parity(
        rows=len(labels),
        logit_difference=max(_difference(outputs[name], value) for name, value in trained.outputs.items() if name.endswith(OUTPUT)),
        label_change=float(np.mean([a != b for a, b in zip(labels, trained.labels, strict=True)])),
        metric=trained.metric,
        value=value,
        metric_loss=trained.value - value,
    )


def _difference(some: Any, others: Any) -> float:
    return float(np.abs(some - others).max())


def _judge(task: Task, outputs: Arrays, rows: Rows) -> tuple[list[Any], float]:
    """Answers, and the primary metric over the rows whose target is known."""
    predictions = task.decode([one.id for one in rows.examples], outputs, rows.schema, rows.calibration)
    judged = Judged(rows.examples, predictions, outputs, rows.schema, rows.calibration)
    return [one.output for one in predictions], scoring.primary(task, judged).value
