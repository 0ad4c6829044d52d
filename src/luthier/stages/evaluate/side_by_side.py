"""What was written for the same rows by the model, by each baseline and by people: the rows where the model is worst come first."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from luthier.core import images, registry
from luthier.core.attachment import attachments_of
from luthier.core.ports import Judged, Task
from luthier.core.writing import texts_in
from luthier.stages.evaluate.part import read_result, result_folder
from luthier.stages.evaluate.scoring import metric_of
from luthier.stages.evaluate.subject import Subject

MOST = 50
MOST_LETTERS = 1200
THUMBNAIL = 160
"""Pixels of a thumbnail's longer side."""


def rows(subject: Subject, judged: Judged) -> list[dict[str, Any]]:
    """At most 50 rows that the model wrote for: id, source, text, target, output, score (of the primary metric, where it is one of
    rows), and each baseline's text under ``others``.
    """
    texts = texts_in(judged.outputs, len(judged.examples))
    score = _by_row(subject.task, judged)
    others = _others(subject, len(judged.examples))
    known = [row for row, text in enumerate(texts) if text is not None]
    ordered = sorted(known, key=lambda row: (float(score[row]) if score is not None else 0.0, row))
    return [
        {
            "id": judged.examples[row].id,
            "source": judged.examples[row].source,
            "text": _short(subject.task.text(judged.examples[row])),
            "target": _short(shown(judged.examples[row].target)),
            "output": _short(texts[row] or ""),
            "score": None if score is None or np.isnan(score[row]) else round(float(score[row]), 4),
            "others": {name: _short(found[row] or "") for name, found in others.items() if found[row] is not None},
        }
        for row in ordered[:MOST]
    ]


def thumbnails(judged: Judged, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The pictures of these rows as small data URLs, by the rows' ids; none for examples without pictures."""
    wanted, found = {row["id"] for row in rows}, {}
    for example in judged.examples:
        for one in attachments_of(example.inputs).values():
            if example.id in wanted:
                picture, out = images.read(one.read()), io.BytesIO()
                picture.thumbnail((THUMBNAIL, THUMBNAIL))
                picture.save(out, "JPEG", quality=85)
                found[example.id] = images.to_data_url(out.getvalue(), "jpeg")
    return found


def shown(target: Any) -> str:
    """A target as text: of an answer in a chat its content."""
    return str(target.get("content") or "") if isinstance(target, dict) else str(target)


def _by_row(task: Task, judged: Judged) -> Any:
    metric = registry.get("metrics", metric_of(task, task.primary_metric, judged))
    return metric.by_row(judged).get(task.primary_metric) if hasattr(metric, "by_row") else None


def _others(subject: Subject, count: int) -> dict[str, list[str | None]]:
    names = list(subject.job.plan.evaluate.baselines) or list(subject.task.baselines)
    return {name: texts_in(read_result(result_folder(subject.work, f"baseline-{name}"))[0], count) for name in names}


def _short(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else text[:MOST_LETTERS] + " ..."
