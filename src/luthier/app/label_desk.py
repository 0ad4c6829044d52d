"""One labelling as it stands in memory: its messages, what holds, and what each author is asked next."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from luthier.app.computed import Answers, Vectors
from luthier.app.label_choice import Asked, Standing
from luthier.app.labelling_rows import LabellingInfo, LabellingRows, Marks, Message
from luthier.core.types import canonical_json
from luthier.labelling import choose
from luthier.labelling.log import State

LOG = logging.getLogger("luthier.labelling")
KEPT_S = 600.0
"""How long a row that one author was given is kept from the others."""

SLOW_S = 0.3
"""A choice that takes longer is made ahead, in the background, while the author still has half of the last one: nobody waits for it."""

AHEAD = choose.BATCH // 2
REMEMBERED = 20 * choose.BATCH
"""Rows that an author was shown and that are remembered with their suggestions."""

MOST_AUTHORS = 200
"""Authors whose rows are remembered."""


class Desk:
    """See the module; from any thread."""

    def __init__(self, rows: LabellingRows, info: LabellingInfo, vectors: Vectors, answers: Answers | None) -> None:
        self.rows, self.info, self.vectors, self.answers = rows, info, vectors, answers
        self.messages: dict[str, Message] = {}
        self.state = State([])
        self._marks, self._last_row = Marks(-1, -1, 0), 0
        self._looking, self._choosing, self._lock = threading.Lock(), threading.Lock(), threading.Lock()
        self._queues: dict[str, list[Asked]] = {}
        self._given: dict[str, tuple[str, float]] = {}
        self._took_s = 0.0
        self._ahead: dict[str, threading.Thread] = {}

    def look(self) -> None:
        """Reads what came since; what is there is never changed, so that who holds it may go on reading."""
        with self._looking:
            found = self.rows.marks(self.info.name)
            if found.messages != self._marks.messages:
                self._read_messages(found.messages)
            if found[1:] != self._marks[1:]:
                known = self.state.entries
                entries = [*known, *self.rows.entries(self.info.name, known[-1].seq if known else 0)]
                # One that was numbered before others and written after them is behind none.
                self.state = State(entries if len(entries) >= found.labels else self.rows.entries(self.info.name))
            self._marks = found

    def _read_messages(self, count: int) -> None:
        fresh, last = self.rows.messages(self.info.name, self._last_row)
        found = self.messages | {message.id: message for message in fresh}
        if len(found) < count:
            every, last = self.rows.messages(self.info.name)
            found = {message.id: message for message in every}
        self.messages, self._last_row = found, last

    @property
    def standing(self) -> Standing:
        """What holds now."""
        answers = self.answers.values if self.answers is not None else None
        return Standing(self.info, self.messages, self.state, self.vectors.values, answers)

    @property
    def labels(self) -> list[str]:
        """Every label, declared or used."""
        return self.standing.labels

    def next(self, author: str, count: int) -> list[Asked]:
        """What the author is asked next: shared rows first, then the most useful ones."""
        for _ in range(3):  # another author may be given what was chosen
            found = self._give(author, count)
            if found is not None:
                return found
            self._choose(author, count)
        return self._give(author, count, fill=True) or []

    def suggested(self, author: str, row: str) -> dict[str, Any]:
        """What the author was shown for a row ({} for nothing, as of rows that everybody labels)."""
        if row in self.state.shared:
            return {}
        return next((asked.suggestion or {} for asked in self._queues.get(author, ()) if asked.row == row), {})

    def _give(self, author: str, count: int, *, fill: bool = False) -> list[Asked] | None:
        """Shared and chosen rows; ``None`` where more must be chosen first (``fill``: then the next ones of the file)."""
        with self._lock:
            self.look()
            messages = list(self.messages.values())
            self.vectors.get(messages)
            if self.answers is not None:
                self.answers.get(messages)
            standing = self.standing
            shared, queue, left = self._open(author, standing)
            found = [standing.asked(row, shared=True) for row in shared[:count]]
            want = count - len(found)
            if len(queue) < min(want, len(left)):
                if not fill:
                    return None
                chosen = {asked.row for asked in queue}
                queue += [standing.asked(row) for row in left if row not in chosen]
            now = time.monotonic()
            self._given.update({asked.row: (author, now) for asked in queue[:want]})
            if self._took_s > SLOW_S and want and len(queue) <= AHEAD + want and len(queue) < len(left):
                self._begin(author)
            return found + queue[:want]

    def _open(self, author: str, standing: Standing) -> tuple[list[str], list[Asked], Sequence[str]]:
        """The shared rows that the author is still to see, the chosen ones, and all that the author may be given."""
        now = time.monotonic()
        self._given = {row: (who, at) for row, (who, at) in self._given.items() if now - at < KEPT_S}
        taken = {row for row, (who, _) in self._given.items() if who != author}
        shared, free = standing.state.open_to(author, list(standing.messages))
        left = [row for row in free if row not in taken] or free
        rest, queue = set(left), []
        for asked in self._queues.get(author, ()):
            if asked.row in rest:  # each once: a row may have been chosen again
                rest.remove(asked.row)
                queue.append(asked)
        return shared, queue, left

    def _begin(self, author: str) -> None:
        running = self._ahead.get(author)
        if running is None or not running.is_alive():
            self._ahead = {who: thread for who, thread in self._ahead.items() if thread.is_alive()}
            self._ahead[author] = threading.Thread(target=self._quietly, args=(author,), name=f"ahead-{self.info.name}", daemon=True)
            self._ahead[author].start()

    def _quietly(self, author: str) -> None:
        try:
            self._choose(author, choose.BATCH, ahead=True)
        except Exception:
            LOG.exception("labelling %s: the next rows cannot be chosen ahead", self.info.name)

    def _choose(self, author: str, count: int, *, ahead: bool = False) -> None:
        """Chooses more rows, one author after the other; ``ahead``: beside those that are chosen and not yet answered."""
        with self._choosing:
            with self._lock:
                standing = self.standing
                _, queue, left = self._open(author, standing)
                if not ahead and len(queue) >= min(count, len(left)):
                    return  # it was made ahead
                if ahead:
                    chosen = {asked.row for asked in queue}
                    left = [row for row in left if row not in chosen]
            start = time.monotonic()
            # Few labels teach much: the first rows are chosen one by one, then two, four ... at a time.
            made = standing.choose(left, max(count, min(choose.BATCH, len(standing.state.agreed)))) if left else []
            with self._lock:
                before = self._queues.pop(author, [])
                # What was shown stays known, for who answers late.
                self._queues[author] = [*before, *made][-REMEMBERED:] if ahead else [*made, *before][:REMEMBERED]
                self._queues = dict(list(self._queues.items())[-MOST_AUTHORS:])
                self._took_s = time.monotonic() - start


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same label."""
    return canonical_json(one) == canonical_json(other)
