"""Labels made with people: rows that come by usefulness, what is said of them, and what comes out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from luthier.client.connection import OWN, Connection, part
from luthier.client.records import Paged, Record

ROWS = 500
"""Rows in one call."""

CHARACTERS = 1_000_000
"""And about so many characters: a server takes bodies of 8 MB."""


def _parts(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    some, size = list[Mapping[str, Any]](), 0
    for row in rows:
        length = len(str(row))
        if some and (len(some) == ROWS or size + length > CHARACTERS):
            yield some
            some, size = [], 0
        some.append(row)
        size += length
    if some:
        yield some


class Labellings(Paged):
    """Labellings by name."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, f"{OWN}/labellings")

    def _at(self, name: str, *words: str) -> str:
        return "/".join([f"{self._path}/{part(name)}", *words])

    def create(self, name: str, **more: Any) -> Record:
        """Makes a labelling: ``kind`` (label, labels, spans), ``labels``, ``encoder``, ``model``, ``dataset``, ``author``."""
        found: Record = self._connection.post(self._path, {"name": name} | {key: value for key, value in more.items() if value})
        return found

    def add(self, name: str, rows: Iterable[Mapping[str, Any]], author: str = "") -> Record:
        """Sends messages (of any number: in several calls); what came of them, added up."""
        total: Record = {"added": 0, "known": 0, "labels": 0, "refused": 0, "refusals": []}
        sent = 0
        for some in _parts(rows):
            said = self._connection.post(self._at(name, "rows"), {"rows": some, "author": author})
            for one in said["refusals"]:
                one["row"] += sent
            total = {key: total[key] + said[key] for key in total}
            sent += len(some)
        return total

    def next(self, name: str, author: str = "", count: int = 1) -> list[Record]:
        """The rows to label next, the most useful first."""
        found: list[Record] = self._connection.get(self._at(name, "next"), author=author, count=count)["data"]
        return found

    def say(self, name: str, labels: Iterable[Mapping[str, Any]], author: str = "") -> Record:
        """Accepts, corrects, skips or settles: ``{row, verb, value, suggested, new}`` each. The author's progress."""
        found: Record = self._connection.post(self._at(name, "labels"), {"labels": [*labels], "author": author})
        return found

    def undo(self, name: str, author: str = "") -> Record:
        """Takes the author's last label back."""
        found: Record = self._connection.post(self._at(name, "undo"), {"author": author})
        return found

    def share(self, name: str, count: int, author: str = "") -> Record:
        """Gives more rows to every author."""
        found: Record = self._connection.post(self._at(name, "share"), {"count": count, "author": author})
        return found

    def progress(self, name: str, author: str = "") -> Record:
        """How far an author is."""
        found: Record = self._connection.get(self._at(name, "progress"), author=author)
        return found

    def history(self, name: str, limit: int = 20, after: str = "") -> Record:
        """A page of everything that was said, newest first."""
        found: Record = self._connection.get(self._at(name, "labels"), limit=limit, after=after)
        return found

    def agreement(self, name: str) -> list[Record]:
        """Kappa of each two authors, and the rows on which they differ."""
        found: list[Record] = self._connection.get(self._at(name, "agreement"))["pairs"]
        return found

    def doubts(self, name: str) -> Record:
        """Labels that are likely wrong."""
        found: Record = self._connection.get(self._at(name, "doubts"))
        return found

    def export(self, name: str, form: str = "jsonl") -> str:
        """The labels as a file's text: jsonl, csv, label-studio or conll."""
        return self._connection.text(f"{self._at(name, 'export')}?as={part(form)}")

    def file(self, name: str) -> Record:
        """Puts the labels among the uploaded files there: a fine-tuning job takes its id."""
        found: Record = self._connection.post(self._at(name, "file"))
        return found

    def delete(self, name: str) -> Record:
        """Removes a labelling with its rows and labels."""
        found: Record = self._connection.delete(self._at(name))
        return found
