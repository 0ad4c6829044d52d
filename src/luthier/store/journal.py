"""The one journal: an append-only log of events with a cursor; console, CLI, webhooks and the monitor are readers of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Engine, Select, insert, select

from luthier.core.events import Event
from luthier.store.tables import EVENTS


class Entry(NamedTuple):
    """One line of the journal. ``body`` is the event's JSON (``event`` holds its name); ``seq`` is the cursor."""

    seq: int
    at: float
    name: str
    subject: str
    body: dict[str, Any]


def subject(event: Event) -> str:
    """What an event is about, for look-ups: its endpoint, else its run, else its job, else nothing."""
    for field in ("endpoint", "run", "job"):
        value = getattr(event, field, "")
        if value:
            return str(value)
    return ""


class Journal:
    """Appends and reads what belongs to one workspace; safe from several processes and threads."""

    def __init__(self, engine: Engine, workspace: str = "default") -> None:
        self.engine = engine
        self.workspace = workspace

    def append(self, events: Sequence[Event], about: str = "") -> None:
        """Writes the events in one transaction. ``about`` is the subject of those that name none."""
        if events:
            with self.engine.begin() as connection:
                connection.execute(insert(EVENTS), self.rows(events, about))

    def rows(self, events: Sequence[Event], about: str = "") -> list[dict[str, Any]]:
        """The events as rows of the table ``events``, for who writes them in a transaction of their own."""
        return [
            {
                "workspace": self.workspace,
                "at": e.at,
                "name": e.name,
                "subject": subject(e) or about,
                "body": json.dumps(e.as_json(), ensure_ascii=False),
            }
            for e in events
        ]

    def _mine(self) -> Select[Any]:
        return select(EVENTS).where(EVENTS.c.workspace == self.workspace)

    def read(self, after: int = 0, limit: int = 1000, *, about: str = "", names: Sequence[str] = (), since: float = 0.0) -> list[Entry]:
        """At most ``limit`` entries with ``seq > after``, oldest first, filtered by subject, event names and time."""
        query = self._mine().where(EVENTS.c.seq > after).order_by(EVENTS.c.seq).limit(limit)
        if about:
            query = query.where(EVENTS.c.subject == about)
        if names:
            query = query.where(EVENTS.c.name.in_(names))
        if since:
            query = query.where(EVENTS.c.at >= since)
        with self.engine.connect() as connection:
            return [Entry(row.seq, row.at, row.name, row.subject, json.loads(row.body)) for row in connection.execute(query)]

    def all(self, after: int = 0, *, about: str = "", names: Sequence[str] = (), since: float = 0.0) -> Iterator[Entry]:
        """Every matching entry, read in pages."""
        while page := self.read(after, about=about, names=names, since=since):
            yield from page
            after = page[-1].seq

    def last(self, count: int, *, about: str = "", names: Sequence[str] = (), before: int = 0) -> list[Entry]:
        """The newest ``count`` matching entries (of those with ``seq < before``, where that is given), oldest first."""
        query = self._mine().order_by(EVENTS.c.seq.desc()).limit(count)
        if before:
            query = query.where(EVENTS.c.seq < before)
        if about:
            query = query.where(EVENTS.c.subject == about)
        if names:
            query = query.where(EVENTS.c.name.in_(names))
        with self.engine.connect() as connection:
            found = [Entry(row.seq, row.at, row.name, row.subject, json.loads(row.body)) for row in connection.execute(query)]
        return found[::-1]
