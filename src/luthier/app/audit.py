"""The audit log: who changed what, when, and how it ended. Rows are only ever added."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, insert, select

from luthier.core.errors import UnknownName
from luthier.store.tables import AUDIT

_ID = re.compile(r"audit_([0-9]{1,18})")
LONGEST = 500
"""Characters of an address that are kept."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One change: ``action`` is the method and the address's pattern, ``object`` the address itself, ``status`` what was answered."""

    seq: int
    at: float
    workspace: str
    key: str
    action: str
    object: str
    status: int
    request_id: str

    @property
    def id(self) -> str:
        """Its name in lists."""
        return f"audit_{self.seq}"

    def as_json(self) -> dict[str, Any]:
        """What the server shows."""
        said = {"id": self.id, "object": "audit.entry", "at": int(self.at), "key": self.key, "action": self.action}
        return said | {"path": self.object, "status": self.status, "request_id": self.request_id}


class Audit:
    """The audit log of every workspace of a database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def add(self, workspace: str, *, key: str, action: str, object: str, status: int, request_id: str) -> None:
        """Writes one row."""
        # An address may hold what no database takes: half a character, or a NUL.
        kept = object.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")[:LONGEST]
        row = {"at": time.time(), "workspace": workspace, "key": key, "action": action, "object": kept}
        with self.engine.begin() as connection:
            connection.execute(insert(AUDIT), [row | {"status": status, "request_id": request_id}])

    def list(self, workspace: str, *, limit: int = 20, after: str = "") -> tuple[list[Entry], bool]:
        """A page, newest first, and whether there is more; ``after`` is the last id of the page before. Raises ``UnknownName``."""
        query = select(AUDIT).where(AUDIT.c.workspace == workspace)
        if after:
            number = _ID.fullmatch(after)
            if number is None:
                raise UnknownName(f"there is no audit entry {after[:100]!r}", "give the last id of the page before")
            query = query.where(AUDIT.c.seq < int(number[1]))
        with self.engine.connect() as connection:
            rows = connection.execute(query.order_by(AUDIT.c.seq.desc()).limit(limit + 1)).all()
        found = [Entry(**{name: getattr(row, name) for name in Entry.__dataclass_fields__}) for row in rows[:limit]]
        return found, len(rows) > limit
