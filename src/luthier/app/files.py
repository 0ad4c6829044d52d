"""Uploaded files: kept whole or not at all, checked row by row when they come, deleted when their time is over."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy.exc import IntegrityError

from luthier.app.file_checking import CHECKED, FileChecking
from luthier.app.file_checks import suffixes
from luthier.app.file_names import check_purpose, clean_filename, lifetime_s
from luthier.app.file_rows import Claimed, FileInfo, FilePage, FileRows, lease, new_id, unknown
from luthier.app.loss_mask import loss_mask
from luthier.core.errors import Conflict, InputError, NoSpace, QuotaExceeded, UnknownName
from luthier.store.blobs import Incoming
from luthier.store.workspace import Workspace

CHECKED_AT_ONCE_BYTES = 8_000_000
"""Files up to this size are checked while their upload waits; larger ones stay ``uploaded`` until a worker has checked them."""


class Files:
    """The files of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.blobs = workspace.blobs
        self.rows = FileRows(workspace.engine(), workspace.name)
        self.checking = FileChecking(self.rows, self.blobs)

    # -- in -------------------------------------------------------------------------------------------------------

    def create(self, filename: str, purpose: str, chunks: Iterable[bytes], expires_after: Mapping[str, Any] | None = None) -> FileInfo:
        """Keeps a file and, when it is small, checks it. ``expires_after`` is ``{"anchor": "created_at", "seconds": n}``.

        Raises ``InputError`` (purpose, expiry, an empty file), ``QuotaExceeded``, ``NoSpace``; then nothing is left behind.
        """
        check_purpose(purpose)
        lifetime_s(expires_after)
        with self.incoming() as coming:
            for chunk in chunks:
                coming.write(chunk)
            return self.keep(coming, filename, purpose, expires_after)

    @contextlib.contextmanager
    def incoming(self) -> Iterator[Incoming]:
        """A place for bytes on their way in, refused with ``QuotaExceeded`` as soon as they are more than the workspace may hold."""
        most, used = self._quota()
        self._admit(1, used, most)
        with self.blobs.incoming(lambda size: self._admit(size, used, most)) as coming:
            yield coming

    def keep(
        self, coming: Incoming, filename: str, purpose: str, expires_after: Mapping[str, Any] | None = None, identity: str = ""
    ) -> FileInfo:
        """Makes a file of what came. With an ``identity`` that is a file already, that one is given instead (a repeated request)."""
        check_purpose(purpose)
        life = lifetime_s(expires_after)
        if not coming.size_bytes:
            raise InputError("the file is empty", "send a file with content")
        name, checked = clean_filename(filename), self.checking.wanted(purpose)
        stored = self.blobs.keep(coming, next((suffix for suffix in suffixes() if name.lower().endswith(suffix)), ""))
        joined, identity, now = bool(identity), identity or new_id(), time.time()
        leased = lease() if checked and stored.size_bytes <= CHECKED_AT_ONCE_BYTES else {}
        row = {
            "id": identity,
            "filename": name,
            "purpose": purpose,
            "size_bytes": stored.size_bytes,
            "sha256": stored.sha256,
            "blob": stored.name,
            "status": "uploaded" if checked else "processed",
            "created_at": now,
            "expires_at": now + life if life else 0.0,
        }
        try:
            self.rows.add(row | leased)
        except IntegrityError:
            self.blobs.delete(stored.name)
            return self.get(identity)
        except BaseException:
            self.blobs.delete(stored.name)
            raise
        if not joined:  # the parts of an upload were admitted before
            self._refuse_above_quota(identity)
        if leased:
            self.checking.check(Claimed(self.rows.get(identity), leased["lease_token"]))
        return self.rows.get(identity)

    def put(
        self, identity: str, filename: str, purpose: str, data: bytes | Iterable[bytes], expires_after: Mapping[str, Any] | None = None
    ) -> FileInfo:
        """A file that the service itself makes, under an id that follows from what it is: made again, it is the same file."""
        with contextlib.suppress(UnknownName):
            return self.get(identity)
        with self.blobs.incoming() as coming:
            for chunk in [data] if isinstance(data, bytes) else data:
                coming.write(chunk)
            return self.keep(coming, filename, purpose, expires_after, identity=identity)

    def _quota(self) -> tuple[int, int]:
        """The most bytes that the workspace may hold (0: any number), and what it holds."""
        most = self.rows.settings().get("storage_bytes", 0)
        most = int(most) if isinstance(most, int | float) and not isinstance(most, bool) else 0
        return most, self.rows.used_bytes() if most > 0 else 0

    def admit(self, size: int) -> None:
        """Raises ``QuotaExceeded`` when so many more bytes are more than the workspace may hold."""
        most, used = self._quota()
        self._admit(size, used, most)

    def _admit(self, size: int, used: int, most: int) -> None:
        if 0 < most < used + size:
            raise QuotaExceeded(
                f"the workspace may hold {most:,} bytes and holds {used:,}: there is no room for {size:,} more", "delete files"
            )

    def _refuse_above_quota(self, identity: str) -> None:
        """Two uploads at once can both find room: who is above the quota once the rows are there, goes again."""
        most, used = self._quota()
        if 0 < most < used:
            self._remove(self.rows.get(identity))
            self._admit(1, used, most)

    # -- look -----------------------------------------------------------------------------------------------------

    def get(self, identity: str) -> FileInfo:
        """The file; raises ``UnknownName``, also once its time is over (unless an unfinished job needs it)."""
        info = self.rows.get(identity)
        if 0 < info.expires_at <= time.time() and self._over(info):
            raise unknown(identity)
        return info

    def _over(self, info: FileInfo) -> bool:
        """Removes what is over its time; a full disk, which lets nothing be removed, makes it no younger."""
        try:
            return self._remove(info)
        except NoSpace:
            return not self.rows.jobs_using(info.id)

    def list(self, purpose: str = "", limit: int = 10_000, order: str = "desc", after: str = "") -> FilePage:
        """Files, newest first (``order`` "asc": oldest first), from behind the file ``after``."""
        if purpose:
            check_purpose(purpose)
        return self.rows.page(purpose=purpose, limit=limit, descending=order != "asc", after=after, now=time.time())

    def facts(self, identity: str) -> dict[str, Any]:
        """What the check found: ``kind``, ``rows``, ``tokens``, ``reply`` and ``labels``; empty while it is not checked."""
        return dict(self.get(identity).facts)

    def content(self, identity: str) -> Iterator[bytes]:
        """The bytes, about a megabyte at a time; raises ``UnknownName``, ``Conflict`` and ``Damaged`` at the call."""
        return self.blobs.chunks(self._readable(identity).blob)

    def path(self, identity: str) -> Path:
        """A local file with the content."""
        return self.blobs.local(self._readable(identity).blob)

    def _readable(self, identity: str) -> FileInfo:
        info = self.get(identity)
        if not info.blob:
            raise Conflict(f"the content of {identity} was not kept: {info.status_details[-100:]}", "correct the file and upload it again")
        if info.status == "uploaded" and self.checking.masks(self.workspace.name):
            raise Conflict(f"{identity} is not masked yet", "ask again when its status is processed")
        return info

    def loss_mask(self, identity: str, tokenizer_folder: Path | None = None, limit: int = 20, architecture: str = "") -> dict[str, Any]:
        """Which messages of a file are trained (``app.loss_mask``); ``architecture`` is the model's, where one is meant."""
        info = self._readable(identity)
        if info.status == "error":
            raise InputError(f"{identity} is not valid: {info.status_details}", "correct these rows and upload the file again")
        path = self.blobs.local(info.blob)
        return {"file": identity} | loss_mask(path, tokenizer_folder, limit, facts=info.facts, architecture=architecture)

    # -- check, delete, expire --------------------------------------------------------------------------------------

    def check(self, identity: str) -> FileInfo:
        """Checks the file now; raises ``Conflict`` while another process is at it."""
        info = self.get(identity)
        if not info.blob or (info.purpose not in CHECKED and info.status != "uploaded"):
            return info
        claimed = self.rows.claim(identity)
        if claimed is None:
            raise Conflict(f"{identity} is being checked", "ask again when its status is processed")
        self.checking.check(claimed)
        return self.get(identity)

    def check_soon(self) -> None:
        """Lets a thread of this process check what waits."""
        self.checking.soon()

    def check_pending(self) -> int:
        """Checks what waits in every workspace; how many files. For the worker; a second one beside it does others."""
        return self.checking.pending()

    def delete(self, identity: str) -> None:
        """Deletes the file; raises ``UnknownName``, and ``Conflict`` while an unfinished job needs it."""
        info = self.get(identity)
        if not self._remove(info):
            using = self.rows.jobs_using(identity)
            if not using:
                raise unknown(identity)
            raise Conflict(f"{identity} is used by {' and '.join(using)}", "wait until the job ends, or cancel it")

    def _remove(self, info: FileInfo) -> bool:
        """The row first: without it nobody finds the content, with it everybody must."""
        gone = self.rows.delete_unused(info)
        if gone and info.blob:
            self.blobs.delete(info.blob)
        return gone

    def expire(self) -> int:
        """Deletes what is over its time in every workspace, and what killed uploads left; how many files. For the worker."""
        self.blobs.sweep()
        removed = 0
        while batch := self.rows.expired(time.time()):
            done = sum(self._remove(info) for info in batch)
            removed += done
            if not done:
                break
        return removed
