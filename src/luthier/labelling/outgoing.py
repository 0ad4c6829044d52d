"""Labelled messages as files: JSONL and CSV that ``luthier prepare`` reads, Label Studio's JSON, CoNLL."""

from __future__ import annotations

import csv
import datetime
import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from luthier.core import tags
from luthier.core.errors import InputError, UnknownName
from luthier.labelling.log import Entry
from luthier.labelling.values import Kind, Value

Form: TypeAlias = Literal["jsonl", "csv", "label-studio", "conll"]
FORMS: tuple[Form, ...] = get_args(Form)
ENDINGS: dict[Form, str] = {"jsonl": ".jsonl", "csv": ".csv", "label-studio": ".json", "conll": ".conll"}

AGREED = "luthier"
"""Whose annotation says, in Label Studio's form, what was settled or what most say."""

_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A message with what is agreed upon (``has_value`` false: nothing is), and what each author said. ``predicted``: a suggestion."""

    id: str
    text: str
    columns: dict[str, Any] = field(default_factory=dict)
    value: Value = None
    has_value: bool = False
    said: Mapping[str, Entry] = field(default_factory=dict)
    predicted: Mapping[str, Any] = field(default_factory=dict)


def check_form(name: str, kind: Kind) -> Form:
    """The form; raises ``UnknownName``, and ``InputError`` for one that cannot hold the kind."""
    form = next((known for known in FORMS if known == name), None)
    if form is None:
        raise UnknownName.among("form of export", name, FORMS)
    if form == "conll" and kind != "spans":
        raise InputError(f"CoNLL holds spans, and these are {kind}", "export as jsonl, csv or label-studio")
    return form


def written(form: Form, kind: Kind, rows: Sequence[Labelled]) -> str:
    """The file's text. All but Label Studio's hold the rows that are agreed upon; that holds every row, with what each author said."""
    if form == "label-studio":
        return json.dumps(list(label_studio(kind, rows)), ensure_ascii=False, indent=1) + "\n"
    agreed = [row for row in rows if row.has_value]
    if form == "jsonl":
        return "".join(json.dumps(_record(kind, row), ensure_ascii=False) + "\n" for row in agreed)
    return _csv(kind, agreed) if form == "csv" else "\n".join(_conll(row) for row in agreed)


def _conll(row: Labelled) -> str:
    """A word and its tag a line; an empty line stands between messages."""
    for span in row.value:
        if len(str(span["label"]).split()) > 1:
            raise InputError(f"label: {span['label']!r} holds a space, which no tag of CoNLL can", "export as jsonl, csv or label-studio")
    return "".join(f"{word}\t{tag}\n" for word, tag in bio(row.text, row.value))


def _record(kind: Kind, row: Labelled) -> dict[str, Any]:
    name = "entities" if kind == "spans" else "label"
    return {"text": row.text, name: row.value} | {key: value for key, value in row.columns.items() if key not in ("text", name)}


def _csv(kind: Kind, rows: Sequence[Labelled]) -> str:
    records = [_record(kind, row) for row in rows]
    names = list(dict.fromkeys(name for record in records for name in record)) or ["text", "label"]
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: json.dumps(cell, ensure_ascii=False) if isinstance(cell, list) else cell for name, cell in record.items()})
    return out.getvalue()


def bio(text: str, spans: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Words and BIO tags: words and signs, cut where a span begins or ends, so that none is lost."""
    marked = [dict(span) for span in spans]
    edges = {edge for span in marked for edge in (span["start"], span["end"])}
    places: list[tuple[int, int]] = []
    for match in _TOKEN.finditer(text):
        cuts = [match.start(), *sorted(edge for edge in edges if match.start() < edge < match.end()), match.end()]
        places += itertools.pairwise(cuts)
    found = tags.tags_of(tags.runs_in(marked, places), len(places), "BIO")
    yield from zip((text[start:end] for start, end in places), found, strict=True)


def label_studio(kind: Kind, rows: Iterable[Labelled]) -> Iterator[dict[str, Any]]:
    """Tasks as Label Studio imports them. What is agreed upon stands last, as ``luthier``'s, where the newest label is another."""
    for number, row in enumerate(rows, 1):
        entries = sorted(row.said.items(), key=lambda one: one[1].at)
        said = [_annotation(kind, row.text, author, entry.value, entry.at) for author, entry in entries]
        if row.has_value and not (entries and entries[-1][1].value == row.value):
            said.append(_annotation(kind, row.text, AGREED, row.value, max((entry.at for _, entry in entries), default=0.0) + 1.0))
        guessed = {"model_version": str(row.predicted.get("by", "")), "score": row.predicted.get("confidence")}
        predictions = [guessed | {"result": _results(kind, row.text, row.predicted["value"])}] if row.predicted else []
        yield {"id": number, "data": row.columns | {"text": row.text}, "annotations": said, "predictions": predictions}


def _annotation(kind: Kind, text: str, author: str, value: Value, at: float) -> dict[str, Any]:
    when = datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat().replace("+00:00", "Z")
    return {"completed_by": {"email": author}, "created_at": when, "was_cancelled": False, "result": _results(kind, text, value)}


def _results(kind: Kind, text: str, value: Value) -> list[dict[str, Any]]:
    if kind != "spans":
        choices = value if isinstance(value, list) else [value]
        return [{"type": "choices", "from_name": "label", "to_name": "text", "value": {"choices": choices}}]
    return [{"type": "labels", "from_name": "label", "to_name": "text", "value": _marked(text, span)} for span in value]


def _marked(text: str, span: Mapping[str, Any]) -> dict[str, Any]:
    start, end = span["start"], span["end"]
    return {"start": start, "end": end, "text": text[start:end], "labels": [span["label"]]}
