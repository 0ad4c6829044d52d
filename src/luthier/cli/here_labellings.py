"""Labellings of the workspace on this machine, as a server would answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from luthier.app.service import Service
from luthier.cli.reach import Record


class HereLabellings:
    """See the module."""

    def __init__(self, service: Service) -> None:
        self._labellings = service.labellings

    def create(self, name: str, **more: Any) -> Record:
        """Makes a labelling without rows."""
        self._labellings.create(name, **more)
        return self._labellings.get(name)

    def add(self, name: str, rows: Iterable[Record], author: str) -> Record:
        """Puts messages into it."""
        return self._labellings.add(name, rows, author)

    def ready(self, name: str, tell: Callable[[int, int], None]) -> None:
        """Makes vectors, and a model's answers."""
        self._labellings.ready(name, tell)

    def list(self, limit: int = 20, after: str = "") -> Record:
        """A page, newest first."""
        return self._labellings.page(limit, after)

    def get(self, name: str) -> Record:
        """One of them."""
        return self._labellings.get(name)

    def next(self, name: str, author: str, count: int) -> Sequence[Record]:
        """The rows to label next."""
        return [asked.as_json() for asked in self._labellings.next(name, author, count)]

    def progress(self, name: str, author: str) -> Record:
        """How far an author is."""
        return self._labellings.progress(name, author)

    def say(self, name: str, labels: Sequence[Record], author: str) -> Record:
        """Accepts, corrects, skips or settles; the author's progress."""
        return self._labellings.say(name, author, labels)

    def undo(self, name: str, author: str) -> Record:
        """Takes the author's last label back."""
        return self._labellings.undo(name, author)

    def share(self, name: str, count: int, author: str) -> Record:
        """Gives rows to every author."""
        return self._labellings.share(name, count, author)

    def agreement(self, name: str) -> Sequence[Record]:
        """Kappa of each two authors."""
        return self._labellings.agreement(name)

    def doubts(self, name: str) -> Record:
        """Labels that are likely wrong."""
        self._labellings.ready(name)
        return self._labellings.doubts(name)

    def export(self, name: str, form: str) -> str:
        """The labels as a file's text."""
        return self._labellings.export(name, form)[1]

    def dataset(self, name: str, sets: Sequence[str]) -> Record:
        """A dataset of the labels."""
        from luthier.core.spec import make_spec, override

        made = self._labellings.dataset(name, make_spec(override({}, list(sets))))
        return {"id": made.id, "kind": made.kind, "path": made.path, "parents": list(made.parents)}

    def delete(self, name: str) -> None:
        """Removes it."""
        self._labellings.delete(name)
