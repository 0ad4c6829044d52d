"""Labels made with people, every use case one method: what to label next, what was said, how far people agree, and what comes out of it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from luthier.app.computed import Answers, Tell, Vectors, folder_of
from luthier.app.label_choice import Asked
from luthier.app.label_desk import Desk, same
from luthier.app.labelling_rows import LabellingInfo, LabellingRows, Message
from luthier.app.models import BeingReady
from luthier.app.tuning_objects import page
from luthier.core.errors import Conflict, InputError, RowError, UnknownName
from luthier.core.personal_data import mask_text
from luthier.core.plan import PreparePlan
from luthier.core.spec import Spec, make_spec
from luthier.core.types import Artifact, content_id
from luthier.labelling import agreement, doubts
from luthier.labelling.incoming import Incoming, author_of, incoming, refusal
from luthier.labelling.log import Entry, Verb
from luthier.labelling.outgoing import Form, Labelled, check_form, written
from luthier.labelling.values import check_kind, checked, name_of
from luthier.store import files

if TYPE_CHECKING:
    from luthier.app.service import Service

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
ENCODER = "all-minilm-l6-v2"
TASKS = {"label": "text-classification", "labels": "text-classification", "spans": "token-classification"}
"""The task that learns each kind of label."""

MOST_REFUSALS = 20
MOST_ROWS = 1_000_000
PREFIX = "label-"

Record = dict[str, Any]


class Labellings:
    """The labellings of one workspace."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.rows = LabellingRows(service.workspace.engine(), service.workspace.name)
        self._desks: dict[str, Desk] = {}
        self._lock = threading.Lock()

    # -- what is labelled -----------------------------------------------------------------------------------------

    def create(
        self,
        name: str,
        *,
        kind: str = "label",
        labels: Iterable[str] = (),
        encoder: str = "",
        model: str = "",
        dataset: str = "",
        author: str = "",
    ) -> LabellingInfo:
        """A new labelling without rows. ``model``: a trained model (or endpoint) that suggests; its labels are declared with ``labels``."""
        if not NAME.fullmatch(name):
            raise InputError(f"{name!r:.80} cannot name a labelling", "use letters, digits, '-' and '_', at most 40")
        base = self.service.models.find(encoder or ENCODER)
        if base.card is None or base.card.architecture != "encoder":
            raise InputError(f"encoder: {base.name!r} is no base encoder", f"leave it out: {ENCODER}; a trained model is given as model")
        declared = {name_of(label) for label in labels} | set(self._labels_of(model) if model else ())
        if dataset:
            dataset = self.service.artifact(dataset, "dataset").id
        self.rows.add(
            LabellingInfo(name, check_kind(kind), sorted(declared), base.name, model, dataset, author_of(author or "luthier"), time.time())
        )
        return self.rows.get(name)

    def _labels_of(self, model: str) -> list[str]:
        schema = files.read_json(folder_of(self.service, model) / "schema.json")
        return [str(label) for label in schema.get("labels", ())]

    def list(self) -> list[Record]:
        """Every labelling, newest first, without its progress."""
        return [_about(info) for info in self.rows.list()]

    def page(self, limit: int = 20, after: str = "") -> Record:
        """A page of them."""
        found = self.list()
        if after:
            names = [one["id"] for one in found]
            if after not in names:
                raise UnknownName.among("labelling", after, names)
            found = found[names.index(after) + 1 :]
        return page(found[: limit + 1], limit)

    def get(self, name: str) -> Record:
        """One labelling: its labels, how far it is, and whether vectors and model are there."""
        desk = self._desk(name)
        state, count = desk.state, len(desk.messages)
        done = sum(row in desk.messages for row in state.agreed)
        skipped = sum(all(entry.verb == "skip" for entry in by.values()) for row, by in state.by_row.items() if row not in state.settled)
        progress = {"rows": count, "labelled": done, "disputed": len(state.disputed), "skipped": skipped, "shared": len(state.shared)}
        authors = [
            {"author": author, "labelled": sum(author in state.labels(row) for row in state.by_row), **_pace(desk, author)}
            for author in state.authors
        ]
        made = {"done": sum(row in desk.vectors.values for row in desk.messages), "problem": desk.vectors.problem}
        answers = {"done": len(desk.answers.values), "problem": desk.answers.problem} if desk.answers is not None else None
        return _about(desk.info) | {
            "labels": desk.labels, "progress": progress, "accepted_share": state.accepted_share(), "authors": authors,
            "vectors": made, "answers": answers,
        }  # fmt: skip

    def delete(self, name: str) -> None:
        """Removes a labelling with everything that was said in it, and its cache."""
        self.rows.delete(name)
        self._desks.pop(name, None)
        for path in (self.service.workspace.cache / "labelling" / name).glob("*"):
            path.unlink(missing_ok=True)

    def _desk(self, name: str) -> Desk:
        info = self.rows.get(name)
        with self._lock:
            desk = self._desks.get(name)
            if desk is None or desk.info.created_at != info.created_at:
                answers = Answers(self.service, name, info.model) if info.model else None
                desk = self._desks[name] = Desk(self.rows, info, Vectors(self.service, name, info.encoder), answers)
        desk.look()
        return desk

    # -- rows -----------------------------------------------------------------------------------------------------

    def add(self, name: str, rows: Iterable[Mapping[str, Any]], author: str = "") -> Record:
        """Adds messages, and the labels that come with them: ``{added, known, labels, refused, refusals}``.

        Personal data is masked by its patterns, unless spans are labelled: their places are of the text as it came.
        """
        info, now = self.rows.get(name), time.time()
        author = author_of(author or "import")
        came: list[Incoming] = []
        refusals, refused = [], 0
        for number, row in enumerate(rows, 1):
            try:
                came.append(incoming(info.kind, row, author, now))
            except RowError as error:
                refused += 1
                if refused <= MOST_REFUSALS:
                    refusals.append(refusal(number, error))
        messages = [_message(info, one) for one in came]
        known = self.rows.marks(name).messages
        if known + len(messages) > MOST_ROWS:
            raise InputError(f"{name}: {known + len(messages):,} messages, the most is {MOST_ROWS:,}", "make a second labelling")
        added = self.rows.add_messages(name, messages)
        entries = [
            Entry(0, message.id, given.author, given.at, "correct", given.value)
            for message, one in zip(messages, came, strict=True)
            for given in one.given
        ]
        fresh = self._desk(name).state.unsaid(entries, now) if entries else []
        self.rows.append(name, fresh)
        counts = {"added": added, "known": len(messages) - added, "labels": len(fresh), "refused": refused}
        return counts | {"refusals": refusals}

    def ready(self, name: str, tell: Tell = lambda done, of: None) -> None:
        """Makes vectors (and the model's answers) now, instead of in the background."""
        desk = self._desk(name)
        for made in (desk.vectors, desk.answers):
            if made is not None:
                made.finish(list(desk.messages.values()), tell)

    # -- labelling ------------------------------------------------------------------------------------------------

    def next(self, name: str, author: str, count: int = 1) -> Sequence[Asked]:
        """The rows that the author should label next, the most useful first; none when all are done."""
        return self._desk(name).next(author_of(author), count)

    def say(self, name: str, author: str, said: Sequence[Mapping[str, Any]]) -> Record:
        """Writes what an author says: ``{row, verb, value, suggested, new}`` each, all or none.

        ``accept`` without a value takes what the author was shown; ``new`` lets a label be one that nobody used before; ``suggested``: what
        was shown, where it was not this service that showed it.
        """
        author, desk, now = author_of(author), self._desk(name), time.time()
        entries = [self._entry(desk, author, one, now + number * 1e-6) for number, one in enumerate(said)]
        self.rows.append(name, entries)
        return self._progress(name, author)

    def _entry(self, desk: Desk, author: str, said: Mapping[str, Any], at: float) -> Entry:
        row, verb = str(said.get("row", "")), said.get("verb", "correct")
        if row not in desk.messages:
            raise UnknownName(f"unknown row {row!r:.80} of {desk.info.name!r}", "send the id of a row that was asked")
        if verb not in ("accept", "correct", "skip", "settle"):
            raise InputError(f"verb: {verb!r:.80} is none", "accept, correct, skip or settle; undo has an address of its own")
        if verb == "skip":
            return Entry(0, row, author, at, "skip")
        shown = _shown(desk, author, row, said.get("suggested"))
        value = said.get("value")
        if value is None and verb == "accept":
            value = shown.get("value")
            if value is None:
                raise Conflict(f"{row}: nothing was suggested to {author!r}, or it is forgotten", "send the value")
        made = checked(desk.info.kind, value, desk.messages[row].text, desk.labels, new=bool(said.get("new")))
        told: Verb = verb if verb == "settle" else "accept" if shown and same(shown.get("value"), made) else "correct"
        return Entry(0, row, author, at, told, made, shown)

    def undo(self, name: str, author: str) -> Record:
        """Takes the author's last label, skip or settlement back, by a new row of the log; raises ``Conflict`` when there is none left."""
        author, desk = author_of(author), self._desk(name)
        last = desk.state.last(author)
        if last is None:
            raise Conflict(f"{author!r} has nothing to undo in {name!r}", "only one's own labels can be taken back")
        self.rows.append(name, [Entry(0, last.row, author, time.time(), "undo", undoes=last.seq)])
        return self._progress(name, author) | {"undone": _entry_record(last)}

    def share(self, name: str, count: int, author: str = "") -> Record:
        """Gives ``count`` more rows to every author, drawn at random of those that are not shared: kappa over them is honest."""
        desk = self._desk(name)
        rows = [row for row in desk.messages if row not in desk.state.shared and row not in desk.state.settled]
        drawn = np.random.default_rng(len(desk.state.entries)).permutation(len(rows))[:count]
        now, who = time.time(), author_of(author or "luthier")
        self.rows.append(name, [Entry(0, rows[number], who, now, "share") for number in drawn.tolist()])
        return {"shared": len(drawn), "rows": [rows[number] for number in drawn.tolist()]}

    def _progress(self, name: str, author: str) -> Record:
        desk = self._desk(name)
        shared, free = desk.state.open_to(author, list(desk.messages))
        done = sum(author in by for by in desk.state.by_row.values())
        return {"object": "labelling.progress", "author": author, "done": done, "left": len(shared) + len(free), **_pace(desk, author)}

    def progress(self, name: str, author: str) -> Record:
        """How far an author is: rows done and left, seconds a label, the share of suggestions that were accepted."""
        return self._progress(name, author_of(author))

    def history(self, name: str, limit: int = 20, after: str = "") -> Record:
        """A page of the log, newest first."""
        entries = self._desk(name).state.entries[::-1]
        if after:
            number = after.removeprefix(PREFIX)
            if not (number.isascii() and number.isdigit() and len(number) <= 18):
                raise InputError(f"after: {after!r:.80} is no label's id", "send the id of the last one that you have")
            entries = [entry for entry in entries if entry.seq < int(number)]
        return page([_entry_record(entry) for entry in entries[: limit + 1]], limit)

    # -- looking at it --------------------------------------------------------------------------------------------

    def agreement(self, name: str) -> Sequence[Record]:
        """For each two authors: kappa and the rows on which they differ."""
        desk = self._desk(name)
        return agreement.pairs(desk.info.kind, desk.state, {row: message.text for row, message in desk.messages.items()})

    def doubts(self, name: str) -> Record:
        """Rows whose label is likely wrong, by models that have not seen the row: ``{found, share, rows}``.

        Raises ``BeingReady`` while the vectors are made (``ready`` makes them now).
        """
        desk = self._desk(name)
        if desk.info.kind == "spans":
            raise InputError("suspected errors are found of labels, not of spans", "look at the disagreements of two authors")
        rows = {row: value for row, value in desk.state.agreed.items() if row in desk.messages and row not in desk.state.settled}
        there = desk.vectors.get(list(desk.messages.values()))
        if lacking := sum(row not in there for row in rows):
            if desk.vectors.problem:
                raise Conflict(f"{name}: there are no vectors: {desk.vectors.problem}", "the log says more")
            raise BeingReady(f"{name}: the vectors of {lacking} rows are being made", f"ask again in {BeingReady.retry_after_s} seconds")
        vectors = np.stack([desk.vectors.values[row] for row in rows]) if rows else np.empty((0, 1))
        return doubts.likely(desk.info.kind, [desk.messages[row] for row in rows], list(rows.values()), vectors, desk.labels)

    # -- what comes out -------------------------------------------------------------------------------------------

    def export(self, name: str, form: str = "jsonl") -> tuple[Form, str]:
        """The labels as a file's text: ``jsonl``, ``csv``, ``label-studio`` or ``conll``."""
        desk = self._desk(name)
        chosen = check_form(form, desk.info.kind)
        rows = [_labelled(desk, message) for message in desk.messages.values()]
        return chosen, written(chosen, desk.info.kind, rows)

    def file(self, name: str) -> Record:
        """The labels among the uploaded files (JSONL, purpose fine-tune): its object."""
        text = self._some(name)
        return self.service.files.create(f"{name}.jsonl", "fine-tune", [text.encode()]).as_object()

    def dataset(self, name: str, spec: Spec) -> Artifact:
        """A dataset of the labels, prepared as the spec says; its parent is the dataset that the rows came from, where they did."""
        info = self.rows.get(name)
        path = self.service.workspace.work / "labelling" / f"{name}.jsonl"
        files.write_text(path, self._some(name))
        data = {**spec.data, "train": [str(path)]}
        given = {"task": TASKS[info.kind]} | spec.model_dump(exclude_unset=True) | {"data": data, "name": spec.name or name}
        parent = self.service.artifact(info.dataset, "dataset") if info.dataset else None
        return self.service.prepare(self.service.plan(make_spec(given)), parent=parent)

    def _some(self, name: str) -> str:
        text = self.export(name)[1]
        if not text:
            raise InputError(f"{name}: nothing is labelled yet", f"luthier label run {name}")
        return text


def _shown(desk: Desk, author: str, row: str, given: Any) -> Record:
    """The suggestion that the author saw, in its one form ({}: none); raises ``InputError`` for a value that could not be suggested."""
    said = given or desk.suggested(author, row)
    if not isinstance(said, Mapping) or said.get("value") is None:
        return {}
    value, sure = checked(desk.info.kind, said["value"], desk.messages[row].text, (), new=True), said.get("confidence")
    known = isinstance(sure, int | float) and 0 <= sure <= 1
    return {"value": value, "confidence": sure if known else None, "by": str(said.get("by", ""))[:200]}


def _message(info: LabellingInfo, one: Incoming) -> Message:
    text = one.text if info.kind == "spans" else _masked(one.text)
    columns = {name: _masked(value) if isinstance(value, str) else value for name, value in one.columns.items()}
    return Message(content_id({"text": text}), text, columns, one.source)


def _masked(text: str) -> str:
    return mask_text(text, (), PreparePlan().mask_patterns)[0]


def _labelled(desk: Desk, message: Message) -> Labelled:
    row, agreed = message.id, desk.state.agreed
    said = {author: entry for author, entry in desk.state.by_row.get(row, {}).items() if entry.verb != "skip"}
    guess = desk.answers.values.get(row) if desk.answers is not None else None
    predicted = guess | {"by": desk.info.model} if guess else {}
    return Labelled(row, message.text, message.columns, agreed.get(row), row in agreed, said, predicted)


def _about(info: LabellingInfo) -> Record:
    return {"id": info.name, "object": "labelling", **asdict(info), "created_at": int(info.created_at)}


def _pace(desk: Desk, author: str) -> Record:
    """Seconds a label, seconds left, and the share of suggestions that the author accepted."""
    shared, free = desk.state.open_to(author, list(desk.messages))
    pace = desk.state.seconds_a_label(author)
    left = round(pace * (len(shared) + len(free)), 1) if pace else None
    return {"seconds_a_label": round(pace, 2) or None, "left_s": left, "accepted_share": desk.state.accepted_share(author)}


def _entry_record(entry: Entry) -> Record:
    known = {name: value for name, value in asdict(entry).items() if name not in ("seq", "undoes")}
    undoes = f"{PREFIX}{entry.undoes:012d}" if entry.undoes else None
    return {"id": f"{PREFIX}{entry.seq:012d}", "object": "labelling.label", **known, "undoes": undoes}
