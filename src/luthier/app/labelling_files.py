"""Messages to label, read from files of any format that prepare reads, from Label Studio with its authors, or from a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from luthier.core.errors import RowError
from luthier.core.plan import DataPlan
from luthier.core.ports import BadRow
from luthier.core.types import SPLITS, Artifact, Example
from luthier.formats import label_studio
from luthier.labelling.incoming import COLUMNS
from luthier.labelling.values import Kind
from luthier.stages.prepare.columns import Found, find_columns
from luthier.stages.prepare.sources import Source, find_sources
from luthier.store.datasets import stream_split

Refuse = Callable[[str], None]
"""Is told of a row that cannot be read, in a sentence."""


def rows_of_files(kind: Kind, data: DataPlan, refuse: Refuse) -> Iterator[dict[str, Any]]:
    """Every row as ``labelling.incoming`` takes it; raises ``InputError`` for a file that is wrong as a whole."""
    for source in find_sources(data):
        yield from (
            _of_tasks(kind, source, refuse) if source.format == label_studio.plugin.name else _of_rows(kind, source, data.map, refuse)
        )


def _of_rows(kind: Kind, source: Source, given: Mapping[str, str], refuse: Refuse) -> Iterator[dict[str, Any]]:
    found: Found | None = None
    for row in source.rows():
        if isinstance(row, BadRow):
            refuse(f"{source.title}:{row.line}: {row.reason}")
            continue
        if found is None:
            found = find_columns(source.title, row.values, COLUMNS, given, "")
        cells = {name: row.values.get(column) for name, column in found.chosen.items()}
        rest = {name: value for name, value in row.values.items() if name not in found.chosen.values()}
        value = cells.get("entities" if kind == "spans" else "label")
        made: dict[str, Any] = {"text": cells["text"], "columns": rest, "source": f"{source.title}:{row.line}"}
        yield made | ({} if value is None else {"entities" if kind == "spans" else "label": value})


def _of_tasks(kind: Kind, source: Source, refuse: Refuse) -> Iterator[dict[str, Any]]:
    for number, (task, _) in enumerate(label_studio.tasks(source.path, source.encoding), 1):
        try:
            text = label_studio.text_of(task)
            said = label_studio.said_of(task)
        except RowError as error:
            refuse(f"{source.title}: task {number}: {error}")
            continue
        rest = {name: value for name, value in task["data"].items() if value != text}
        annotations = [{"author": one.author, "at": one.at, "value": value} for one in said if (value := _value(kind, one)) is not None]
        yield {"text": text, "columns": rest, "source": f"{source.title}:{number}", "annotations": annotations}


def _value(kind: Kind, said: label_studio.Annotation) -> Any:
    """What an annotation says of this kind (``None``: nothing; an empty one: none of them)."""
    if kind == "spans":
        return [] if said.empty else said.spans
    if kind == "labels":
        return [] if said.empty else said.choices
    return said.choices[0] if said.choices else None


def rows_of_dataset(kind: Kind, artifact: Artifact) -> Iterator[dict[str, Any]]:
    """The rows of every split of a dataset, with their targets as labels of the author ``dataset``."""
    folder = Path(artifact.path)
    for split in SPLITS:
        for example in stream_split(folder, split):
            target = _target(kind, example)
            said = [] if target is None else [{"author": "dataset", "value": target}]
            yield {"text": example.inputs.get("text"), "columns": example.columns, "source": example.source, "annotations": said}


def _target(kind: Kind, example: Example) -> Any:
    if isinstance(example.target, Mapping):
        return example.target.get("entities" if kind == "spans" else "labels")
    return example.target
