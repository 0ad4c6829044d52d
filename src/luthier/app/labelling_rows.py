"""The tables of labellings: the only reader and writer of them. Messages and labels are only ever added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Engine, Table, and_, delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from luthier.core.errors import Conflict, UnknownName
from luthier.labelling.log import Entry
from luthier.labelling.values import Kind
from luthier.store.tables import LABELLING_ROWS, LABELLINGS, LABELS

_AT_ONCE = 500
"""Ids in one look-up: databases bound the parameters of a statement."""


@dataclass(frozen=True, slots=True)
class LabellingInfo:
    """What is labelled. ``labels``: those that were declared; ``model``: a trained model or endpoint that suggests ("" for none)."""

    name: str
    kind: Kind
    labels: list[str]
    encoder: str
    model: str = ""
    dataset: str = ""
    author: str = ""
    created_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Message:
    """A message that may be labelled; ``id`` is the hash of its content, ``columns`` the file's other columns."""

    id: str
    text: str
    columns: dict[str, Any] = field(default_factory=dict)
    source: str = ""


class Marks(NamedTuple):
    """How many messages there are, how many labels, and the newest label's number: equal marks, equal content."""

    messages: int
    labels: int
    last: int


class LabellingRows:
    """The labellings of one workspace."""

    def __init__(self, engine: Engine, workspace: str) -> None:
        self.engine = engine
        self.workspace = workspace

    def _of(self, table: Table, name: str) -> ColumnElement[bool]:
        column = table.c.name if table is LABELLINGS else table.c.labelling
        return and_(table.c.workspace == self.workspace, column == name)

    def add(self, info: LabellingInfo) -> None:
        """Writes a new labelling; raises ``Conflict`` when there is one of that name."""
        try:
            with self.engine.begin() as connection:
                connection.execute(insert(LABELLINGS), asdict(info) | {"workspace": self.workspace})
        except IntegrityError:
            raise Conflict(f"there is a labelling {info.name!r} already", "take another name, or add rows to that one") from None

    def list(self) -> Sequence[LabellingInfo]:
        """Every labelling, newest first."""
        query = select(LABELLINGS).where(LABELLINGS.c.workspace == self.workspace).order_by(LABELLINGS.c.created_at.desc())
        with self.engine.connect() as connection:
            return [_info(row._mapping) for row in connection.execute(query)]

    def get(self, name: str) -> LabellingInfo:
        """One of them; raises ``UnknownName``."""
        with self.engine.connect() as connection:
            row = connection.execute(select(LABELLINGS).where(self._of(LABELLINGS, name))).first()
        if row is None:
            raise UnknownName.among("labelling", name, (info.name for info in self.list()))
        return _info(row._mapping)

    def delete(self, name: str) -> None:
        """Removes a labelling with its messages and labels; raises ``UnknownName``."""
        self.get(name)
        with self.engine.begin() as connection:
            for table in (LABELS, LABELLING_ROWS, LABELLINGS):
                connection.execute(delete(table).where(self._of(table, name)))

    def _still(self, connection: Connection, name: str) -> None:
        """Raises ``UnknownName`` for one that somebody removed meanwhile: what is written now would be in the next one of that name."""
        if connection.execute(select(LABELLINGS.c.name).where(self._of(LABELLINGS, name))).first() is None:
            raise UnknownName(f"the labelling {name!r} was removed just now", "make it again")

    # -- messages -------------------------------------------------------------------------------------------------

    def add_messages(self, name: str, messages: Sequence[Message]) -> int:
        """Writes those that are not there yet; how many."""
        for _ in range(3):
            known = self._known(name, [message.id for message in messages])
            fresh = list({message.id: message for message in messages if message.id not in known}.values())
            mine = {"workspace": self.workspace, "labelling": name}
            try:
                if fresh:
                    with self.engine.begin() as connection:
                        connection.execute(insert(LABELLING_ROWS), [mine | asdict(message) for message in fresh])
                        self._still(connection, name)
                return len(fresh)
            except IntegrityError:
                continue  # somebody else adds the same messages
        raise Conflict(f"{name}: others add the same messages just now", "try again")

    def _known(self, name: str, ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        with self.engine.connect() as connection:
            for start in range(0, len(ids), _AT_ONCE):
                these = LABELLING_ROWS.c.id.in_(ids[start : start + _AT_ONCE])
                found |= set(connection.execute(select(LABELLING_ROWS.c.id).where(self._of(LABELLING_ROWS, name), these)).scalars())
        return found

    def messages(self, name: str, after: int = 0) -> tuple[Sequence[Message], int]:
        """Every message that was numbered ``after`` this, in the order in which they came, and the last one's number."""
        columns = [LABELLING_ROWS.c[column] for column in ("id", "text", "columns", "source", "seq")]
        query = select(*columns).where(self._of(LABELLING_ROWS, name), LABELLING_ROWS.c.seq > after).order_by(LABELLING_ROWS.c.seq)
        with self.engine.connect() as connection:
            found = connection.execute(query).all()
        return [Message(*row[:-1]) for row in found], found[-1].seq if found else after

    # -- labels ---------------------------------------------------------------------------------------------------

    def append(self, name: str, entries: Sequence[Entry]) -> None:
        """Adds to the log, in one transaction; each entry's ``seq`` is given by the database."""
        mine = {"workspace": self.workspace, "labelling": name}
        rows = [mine | {key: value for key, value in asdict(entry).items() if key != "seq"} for entry in entries]
        if rows:
            with self.engine.begin() as connection:
                connection.execute(insert(LABELS), rows)
                self._still(connection, name)

    def entries(self, name: str, after: int = 0) -> Sequence[Entry]:
        """The log behind the entry of this number, oldest first."""
        columns = [LABELS.c[column] for column in ("seq", "row", "author", "at", "verb", "value", "suggested", "undoes")]
        query = select(*columns).where(self._of(LABELS, name), LABELS.c.seq > after).order_by(LABELS.c.seq)
        with self.engine.connect() as connection:
            return [Entry(*row) for row in connection.execute(query)]

    def marks(self, name: str) -> Marks:
        """Whether something came since, at the cost of two look-ups in indexes."""
        with self.engine.connect() as connection:
            count = connection.execute(select(func.count()).select_from(LABELLING_ROWS).where(self._of(LABELLING_ROWS, name))).scalar()
            last = connection.execute(
                select(func.count(), func.max(LABELS.c.seq)).select_from(LABELS).where(self._of(LABELS, name))
            ).first()  # fmt: skip
        # Numbers are given before transactions end: the newest alone would hide one that came late.
        return Marks(int(count or 0), *(int(one or 0) for one in last or (0, 0)))


def _info(row: Any) -> LabellingInfo:
    return LabellingInfo(**{name: row[name] for name in LabellingInfo.__dataclass_fields__})
