"""The files table: the only reader and writer of it. Each change is one statement that names what must still be true."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Engine, and_, delete, exists, func, insert, not_, or_, select, update

from luthier.app.leases import LEASE_S, gone, owner
from luthier.core.batch import ALIVE
from luthier.core.errors import UnknownName
from luthier.store.tables import BATCHES, FILES, PARTS, TUNINGS, UPLOADS, WORKSPACES

ID = re.compile(r"file-[0-9a-f]{24}")
IN_USE = ("validating_files", "queued", "running", "paused")
"""States of fine-tuning jobs that still need their files."""


@dataclass(frozen=True)
class FileInfo:
    """An uploaded file. Times are seconds since 1970 (``expires_at`` 0: never); ``status`` is uploaded, processed or error."""

    id: str
    workspace: str
    filename: str
    purpose: str
    size_bytes: int
    sha256: str
    blob: str
    status: str
    status_details: str
    created_at: float
    expires_at: float
    facts: dict[str, Any] = field(default_factory=dict)

    def as_object(self) -> dict[str, Any]:
        """The ``file`` that OpenAI's clients read."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.size_bytes,
            "created_at": int(self.created_at),
            "filename": self.filename,
            "purpose": self.purpose,
            "status": self.status,
            "status_details": self.status_details or None,
            "expires_at": int(self.expires_at) or None,
        }


class FilePage(NamedTuple):
    """Some files in order, and whether there are more behind them."""

    files: list[FileInfo]
    has_more: bool


class Claimed(NamedTuple):
    """A file whose check is ours as long as the token is the row's."""

    info: FileInfo
    token: str


def new_id() -> str:
    """An id that no file has."""
    return f"file-{secrets.token_hex(12)}"


def lease() -> dict[str, Any]:
    """The columns of a fresh lease of this process."""
    return {"lease_owner": owner(), "lease_token": secrets.token_hex(8), "lease_expires_at": time.time() + LEASE_S}


NO_LEASE: dict[str, Any] = {"lease_owner": "", "lease_token": "", "lease_expires_at": 0.0}


def _unused() -> ColumnElement[bool]:
    needs = or_(TUNINGS.c.training_file == FILES.c.id, TUNINGS.c.validation_file == FILES.c.id)
    job = exists(select(TUNINGS.c.seq).where(needs, TUNINGS.c.workspace == FILES.c.workspace, TUNINGS.c.state.in_(IN_USE)))
    same = (BATCHES.c.input_file == FILES.c.id, BATCHES.c.workspace == FILES.c.workspace, BATCHES.c.state.in_(ALIVE))
    return and_(not_(job), not_(exists(select(BATCHES.c.seq).where(*same))))


_COLUMNS = [column for column in FILES.c if column.name != "seq" and not column.name.startswith("lease_")]


class FileRows:
    """The rows of one workspace; what is for the worker (``pending``, ``expired``) looks at all of them."""

    def __init__(self, engine: Engine, workspace: str) -> None:
        self.engine = engine
        self.workspace = workspace

    def _is(self, identity: str) -> ColumnElement[bool]:
        return and_(FILES.c.workspace == self.workspace, FILES.c.id == identity)

    def add(self, values: dict[str, Any]) -> None:
        """A new row; raises ``IntegrityError`` when the id is taken."""
        with self.engine.begin() as connection:
            connection.execute(insert(FILES), [{"workspace": self.workspace} | values])

    def get(self, identity: str) -> FileInfo:
        """The file of that id; raises ``UnknownName``."""
        if ID.fullmatch(identity):
            with self.engine.connect() as connection:
                row = connection.execute(select(*_COLUMNS).where(self._is(identity))).first()
            if row is not None:
                return FileInfo(**row._mapping)
        raise unknown(identity)

    def page(self, *, purpose: str, limit: int, descending: bool, after: str, now: float) -> FilePage:
        """Files in the order of their coming, from behind ``after``; raises ``UnknownName`` when that is no file (any more)."""
        query = select(*_COLUMNS).where(FILES.c.workspace == self.workspace, or_(FILES.c.expires_at == 0, FILES.c.expires_at > now))
        if purpose:
            query = query.where(FILES.c.purpose == purpose)
        if after:
            seq = self._seq(after)
            query = query.where(FILES.c.seq < seq if descending else FILES.c.seq > seq)
        query = query.order_by(FILES.c.seq.desc() if descending else FILES.c.seq).limit(limit + 1)
        with self.engine.connect() as connection:
            found = [FileInfo(**row._mapping) for row in connection.execute(query)]
        return FilePage(found[:limit], len(found) > limit)

    def _seq(self, identity: str) -> int:
        if ID.fullmatch(identity):
            with self.engine.connect() as connection:
                seq = connection.execute(select(FILES.c.seq).where(self._is(identity))).scalar()
            if seq is not None:
                return int(seq)
        raise unknown(identity)

    def delete_unused(self, info: FileInfo) -> bool:
        """Removes the row unless an unfinished job needs the file; whether it went."""
        with self.engine.begin() as connection:
            done = connection.execute(delete(FILES).where(FILES.c.workspace == info.workspace, FILES.c.id == info.id, _unused()))
        return bool(done.rowcount == 1)

    def jobs_using(self, identity: str) -> list[str]:
        """Ids of unfinished jobs and batches that need the file."""
        batches = select(BATCHES.c.id).where(
            BATCHES.c.workspace == self.workspace, BATCHES.c.input_file == identity, BATCHES.c.state.in_(ALIVE)
        )
        needs = or_(TUNINGS.c.training_file == identity, TUNINGS.c.validation_file == identity)
        query = select(TUNINGS.c.id).where(TUNINGS.c.workspace == self.workspace, needs, TUNINGS.c.state.in_(IN_USE)).limit(3)
        with self.engine.connect() as connection:
            return [*connection.execute(query).scalars(), *connection.execute(batches.limit(3)).scalars()]

    def used_bytes(self) -> int:
        """What the workspace's files and unfinished uploads hold."""
        whole = select(func.coalesce(func.sum(FILES.c.size_bytes), 0)).where(FILES.c.workspace == self.workspace)
        parts = select(func.coalesce(func.sum(PARTS.c.size_bytes), 0)).join(UPLOADS, UPLOADS.c.id == PARTS.c.upload)
        with self.engine.connect() as connection:
            return int(connection.execute(whole).scalar_one()) + int(
                connection.execute(parts.where(UPLOADS.c.workspace == self.workspace)).scalar_one()
            )

    def settings(self, workspace: str = "") -> Mapping[str, Any]:
        """What the operator has set for a workspace (this one)."""
        query = select(WORKSPACES.c.settings).where(WORKSPACES.c.name == (workspace or self.workspace))
        with self.engine.connect() as connection:
            found = connection.execute(query).scalar()
        return found if isinstance(found, dict) else {}

    # -- for the worker: every workspace ----------------------------------------------------------------------------

    def expired(self, now: float, limit: int = 500) -> Sequence[FileInfo]:
        """Files whose time is over and that no unfinished job needs."""
        query = select(*_COLUMNS).where(FILES.c.expires_at > 0, FILES.c.expires_at <= now, _unused()).limit(limit)
        with self.engine.connect() as connection:
            return [FileInfo(**row._mapping) for row in connection.execute(query)]

    def claim_next(self) -> Claimed | None:
        """The oldest unchecked file that nobody alive is at, now ours."""
        query = select(FILES).where(FILES.c.status == "uploaded").order_by(FILES.c.seq).limit(100)
        with self.engine.connect() as connection:
            waiting = connection.execute(query).all()
        for row in waiting:
            if row.lease_token and row.lease_expires_at > time.time() and not gone(row.lease_owner):
                continue
            if claimed := self._claim(row._mapping):
                return claimed
        return None

    def claim(self, identity: str) -> Claimed | None:
        """That file, ours to check; none when somebody alive is at it."""
        info = self.get(identity)
        with self.engine.connect() as connection:
            row = connection.execute(select(FILES).where(FILES.c.id == info.id)).first()
        if row is None or (row.lease_token and row.lease_expires_at > time.time() and not gone(row.lease_owner)):
            return None
        return self._claim(row._mapping)

    def _claim(self, row: Mapping[Any, Any]) -> Claimed | None:
        fresh = lease()
        with self.engine.begin() as connection:
            seen = and_(FILES.c.id == row["id"], FILES.c.lease_token == row["lease_token"], FILES.c.status == row["status"])
            done = connection.execute(update(FILES).where(seen).values(**fresh))
        info = FileInfo(**{column.name: row[column.name] for column in _COLUMNS})
        return Claimed(info, fresh["lease_token"]) if done.rowcount == 1 else None

    def change(self, claimed: Claimed, values: dict[str, Any]) -> bool:
        """Changes the row if it is still ours; whether it was."""
        ours = and_(FILES.c.id == claimed.info.id, FILES.c.lease_token == claimed.token)
        with self.engine.begin() as connection:
            return bool(connection.execute(update(FILES).where(ours).values(**values)).rowcount == 1)


def unknown(identity: str) -> UnknownName:
    """There is no such file (in this workspace: another one's is not known here)."""
    return UnknownName(f"unknown file {identity[:60]!r}", "GET /v1/files lists the files")
