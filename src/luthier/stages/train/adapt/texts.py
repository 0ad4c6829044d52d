"""The unlabelled texts of a domain: read by the formats that datasets are read by, and masked as those are, before anything is kept."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from luthier.core.errors import InputError
from luthier.core.plan import DataPlan, Plan
from luthier.core.ports import Row, Task
from luthier.core.types import Example
from luthier.stages.prepare.columns import as_text, find_columns
from luthier.stages.prepare.masking import Masker
from luthier.stages.prepare.reading import PEEKED
from luthier.stages.prepare.sources import Source, find_sources


def texts_of(plan: Plan, task: Task, train: Sequence[Example], held: Sequence[Example]) -> list[str]:
    """Different texts in order: those of ``train.unlabelled``, then the training rows' own. What is in ``held`` (validation and test rows)
    is left out: their words are not to be learned from. Raises ``InputError`` for a file without the column of the text.
    """
    masker = Masker(plan.prepare)
    unseen = {task.text(example) for example in held}
    sources = find_sources(DataPlan(train=plan.train.unlabelled, seed=plan.data.seed)) if plan.train.unlabelled else []
    read = (masker.mask(text) for source in sources for text in _texts(source, task, plan))
    found = dict.fromkeys(text for text in itertools.chain(read, map(task.text, train)) if text and text not in unseen)
    if not found:
        raise InputError("train.unlabelled: there is no text that is not a validation or test row too", "name a file with other texts")
    return list(found)


def _texts(source: Source, task: Task, plan: Plan) -> Iterator[str]:
    rows = (row for row in source.rows() if isinstance(row, Row))
    head = list(itertools.islice(rows, PEEKED))
    names = list(dict.fromkeys(name for row in head for name in row.values))
    columns = [column for column in task.columns if column.required][:1]
    given = {column.name: plan.data.map[column.name] for column in columns if plan.data.map.get(column.name) in names}
    column = find_columns(source.title, names, columns, given, "").chosen[columns[0].name]
    most = plan.prepare.max_cell_bytes
    for row in itertools.chain(head, rows):
        text = as_text(row.values.get(column)).strip()
        if text and len(text.encode("utf-8", "replace")) <= most:
            yield text
