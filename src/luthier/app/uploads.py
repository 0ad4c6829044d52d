"""Files that come in parts, because one request cannot carry them: parts are kept, then joined to a file, or forgotten after an hour."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, insert, select, update

from luthier.app.file_names import PURPOSES, check_purpose, clean_filename, lifetime_s
from luthier.app.file_rows import FileInfo
from luthier.app.files import Files
from luthier.core.errors import Conflict, Damaged, InputError, SpecError, UnknownName
from luthier.store.blobs import Incoming
from luthier.store.tables import PARTS, UPLOADS
from luthier.store.workspace import Workspace

LARGEST_BYTES = 8 * 1024**3
LARGEST_PART_BYTES = 64 * 1024**2
LIFE_S = 3600
ID, PART_ID = re.compile(r"upload_[0-9a-f]{24}"), re.compile(r"part_[0-9a-f]{24}")
MIME_TYPE = re.compile(r"[\w.+*-]{1,100}/[\w.+*-]{1,100}(?:\s*;[ -~]{0,100})?")


@dataclass(frozen=True)
class UploadInfo:
    """A file that comes in parts. ``state`` is pending, completed, cancelled or expired; ``file`` is there once it is completed."""

    id: str
    workspace: str
    filename: str
    purpose: str
    mime_type: str
    size_bytes: int
    state: str
    file: FileInfo | None
    expires_after: dict[str, Any]
    created_at: float
    expires_at: float

    def as_object(self) -> dict[str, Any]:
        """The ``upload`` that OpenAI's clients read."""
        return {
            "id": self.id,
            "object": "upload",
            "bytes": self.size_bytes,
            "created_at": int(self.created_at),
            "filename": self.filename,
            "purpose": self.purpose,
            "status": self.state,
            "expires_at": int(self.expires_at),
            "file": self.file.as_object() if self.file is not None else None,
        }


@dataclass(frozen=True)
class PartInfo:
    """A part that was kept."""

    id: str
    upload: str
    size_bytes: int
    blob: str
    created_at: float

    def as_object(self) -> dict[str, Any]:
        """The ``upload.part`` that OpenAI's clients read."""
        return {"id": self.id, "object": "upload.part", "created_at": int(self.created_at), "upload_id": self.upload}


class Uploads:
    """The uploads of a workspace. The file of an upload has an id that follows from the upload's: completing twice makes one file."""

    def __init__(self, workspace: Workspace, files: Files) -> None:
        self.workspace = workspace
        self.files = files
        self.engine = workspace.engine()

    def create(
        self, filename: str, purpose: str, size_bytes: int, mime_type: str, expires_after: Mapping[str, Any] | None = None
    ) -> UploadInfo:
        """Announces a file of so many bytes; raises ``SpecError`` and ``QuotaExceeded``."""
        check_purpose(purpose, PURPOSES)
        lifetime_s(expires_after)
        if not 0 < size_bytes <= LARGEST_BYTES:
            raise SpecError("bytes", f"is {size_bytes}", f"a file that comes in parts has 1 to {LARGEST_BYTES:,} bytes")
        if not MIME_TYPE.fullmatch(mime_type):
            raise SpecError("mime_type", f"is {mime_type[:40]!r}", "e.g. text/jsonl")
        self.files.admit(size_bytes)
        now, identity = time.time(), f"upload_{secrets.token_hex(12)}"
        row = {
            "id": identity,
            "workspace": self.workspace.name,
            "filename": clean_filename(filename),
            "purpose": purpose,
            "mime_type": mime_type,
            "size_bytes": size_bytes,
            "state": "pending",
            "expires_after": dict(expires_after or {}),
            "created_at": now,
            "expires_at": now + LIFE_S,
        }
        with self.engine.begin() as connection:
            connection.execute(insert(UPLOADS), [row])
        return self.get(identity)

    def get(self, identity: str) -> UploadInfo:
        """The upload; raises ``UnknownName``."""
        row = None
        if ID.fullmatch(identity):
            with self.engine.connect() as connection:
                row = connection.execute(select(UPLOADS).where(self._is(identity))).first()
        if row is None:
            raise UnknownName(f"unknown upload {identity[:60]!r}", "create one: POST /v1/uploads")
        values = dict(row._mapping)
        if values["state"] == "pending" and values["expires_at"] <= time.time():
            values["state"] = "expired"
        return UploadInfo(**values | {"file": self._file(values["file"])})

    def _file(self, identity: str) -> FileInfo | None:
        """The upload's file; none before there is one, and none once it was deleted."""
        try:
            return self.files.get(identity) if identity else None
        except UnknownName:
            return None

    def _is(self, identity: str) -> ColumnElement[bool]:
        return and_(UPLOADS.c.workspace == self.workspace.name, UPLOADS.c.id == identity)

    def pending(self, identity: str) -> UploadInfo:
        """The upload, if parts may come; raises ``Conflict``."""
        info = self.get(identity)
        if info.state != "pending":
            raise Conflict(f"{identity} is {info.state}", "create another upload: POST /v1/uploads")
        return info

    # -- parts ----------------------------------------------------------------------------------------------------

    def add_part(self, identity: str, chunks: Iterable[bytes]) -> PartInfo:
        """Keeps a part of at most 64 MB; raises ``UnknownName``, ``Conflict``, ``InputError``, ``QuotaExceeded``, ``NoSpace``."""
        with self.files.incoming() as coming:
            for chunk in chunks:
                coming.write(chunk)
                _check_part(coming)
            return self.keep_part(identity, coming)

    def keep_part(self, identity: str, coming: Incoming) -> PartInfo:
        """Makes a part of what came."""
        info = self.pending(identity)
        _check_part(coming)
        if not coming.size_bytes:
            raise InputError("data: the part is empty", "send a part with content")
        # A client that repeats a part after a lost answer leaves the first one lying: twice the size is room enough for that.
        if self._held(identity) + coming.size_bytes > 2 * info.size_bytes + LARGEST_PART_BYTES:
            raise InputError(
                f"the parts of {identity} are far more than its {info.size_bytes:,} bytes", "create an upload of the right size"
            )
        stored = self.files.blobs.keep(coming)
        part = PartInfo(f"part_{secrets.token_hex(12)}", identity, stored.size_bytes, stored.name, time.time())
        with self.engine.begin() as connection:
            connection.execute(insert(PARTS), [dict(vars(part))])
        if self.get(identity).state != "pending":  # cancelled or expired meanwhile: its parts are gone, and so must this one be
            self._drop_parts(identity)
            self.pending(identity)
        return part

    def _held(self, identity: str) -> int:
        with self.engine.connect() as connection:
            return int(
                connection.execute(select(func.coalesce(func.sum(PARTS.c.size_bytes), 0)).where(PARTS.c.upload == identity)).scalar_one()
            )

    def _parts(self, identity: str) -> dict[str, PartInfo]:
        with self.engine.connect() as connection:
            rows = connection.execute(select(PARTS).where(PARTS.c.upload == identity)).all()
        return {row.id: PartInfo(**row._mapping) for row in rows}

    def _drop_parts(self, identity: str) -> None:
        for part in self._parts(identity).values():
            self.files.blobs.delete(part.blob)
        with self.engine.begin() as connection:
            connection.execute(delete(PARTS).where(PARTS.c.upload == identity))

    # -- the end --------------------------------------------------------------------------------------------------

    def complete(self, identity: str, part_ids: Sequence[str], md5: str = "") -> UploadInfo:
        """Joins the parts, in this order, to a file. Asked again once it is completed, it answers the same.

        Raises ``InputError`` when the bytes are not those announced, or their MD5 (hex) is another; the upload stays pending then.
        """
        if (info := self.get(identity)).state == "completed":
            return info
        info = self.pending(identity)
        parts = self._ordered(info, part_ids)
        try:
            file = self._joined(info, parts, md5)
        except Damaged:  # somebody else completed or cancelled it meanwhile, and its parts went
            if (info := self.get(identity)).state == "completed":
                return info
            self.pending(identity)
            raise
        if not self._move(identity, "completed", file=file.id) and self.get(identity).state != "completed":
            self.files.delete(file.id)
            self.pending(identity)
        self._drop_parts(identity)
        return self.get(identity)

    def _joined(self, info: UploadInfo, parts: Sequence[PartInfo], md5: str) -> FileInfo:
        """The file. Its bytes were admitted as parts: the quota is not asked again."""
        with self.files.blobs.incoming() as coming:
            for chunk in self.files.blobs.joined(part.blob for part in parts):
                coming.write(chunk)
            found = coming.stored("").md5
            if md5 and found != md5.strip().lower():
                raise InputError(f"md5: the parts come to {found}, not {md5[:40]!r}", "send the damaged part again")
            identity = f"file-{info.id.removeprefix('upload_')}"
            return self.files.keep(coming, info.filename, info.purpose, info.expires_after, identity=identity)

    def _ordered(self, info: UploadInfo, part_ids: Sequence[str]) -> list[PartInfo]:
        if not part_ids:
            raise SpecError("part_ids", "is empty", "name the parts in their order")
        if len(set(part_ids)) != len(part_ids):
            raise SpecError("part_ids", "names a part twice", "name each part once")
        known = self._parts(info.id)
        for number, one in enumerate(part_ids):
            if one not in known:
                raise SpecError(
                    f"part_ids[{number}]", f"{one[:40]!r} is no part of {info.id}", "use the ids that the parts were answered with"
                )
        size = sum(known[one].size_bytes for one in part_ids)
        if size != info.size_bytes:
            raise InputError(
                f"the parts have {size:,} bytes, and {info.size_bytes:,} were announced", "send what is missing, or create another upload"
            )
        return [known[one] for one in part_ids]

    def cancel(self, identity: str) -> UploadInfo:
        """Forgets the parts; raises ``Conflict`` when the upload is not pending. Asked again, it answers the same."""
        if self.get(identity).state != "cancelled" and not self._move(identity, "cancelled"):
            self.pending(identity)
        self._drop_parts(identity)
        return self.get(identity)

    def _move(self, identity: str, state: str, file: str = "") -> bool:
        with self.engine.begin() as connection:
            still = and_(self._is(identity), UPLOADS.c.state == "pending")
            return bool(connection.execute(update(UPLOADS).where(still).values(state=state, file=file)).rowcount == 1)

    def expire(self) -> int:
        """Forgets the parts of uploads whose hour is over, in every workspace; how many uploads. For the worker."""
        over = and_(UPLOADS.c.state == "pending", UPLOADS.c.expires_at <= time.time())
        with self.engine.connect() as connection:
            found = list(connection.execute(select(UPLOADS.c.id).where(over).limit(500)).scalars())
        for identity in found:
            with self.engine.begin() as connection:
                connection.execute(update(UPLOADS).where(UPLOADS.c.id == identity, over).values(state="expired"))
            self._drop_parts(identity)
        return len(found)


def _check_part(coming: Incoming) -> None:
    if coming.size_bytes > LARGEST_PART_BYTES:
        raise InputError(f"data: a part has at most {LARGEST_PART_BYTES:,} bytes", "cut the file into smaller parts")
