"""Checks uploaded files under a lease, so that two servers never do the same one, and a killed checker's is taken over."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from luthier.app.file_checks import JSON_SUFFIXES, Verdict, check_batch_file, check_rows, check_training_file
from luthier.app.file_masking import FileMasking
from luthier.app.file_names import PURPOSES
from luthier.app.file_rows import NO_LEASE, Claimed, FileInfo, FileRows
from luthier.app.leases import LEASE_S
from luthier.core.errors import Damaged, LuthierError, NoSpace, Overloaded, Stopped
from luthier.core.personal_data import mask_text
from luthier.store.blobs import Blobs, Stored

CHECKED = ("fine-tune", "batch")
"""Purposes whose files are checked; the others may be anything, where no file must be masked."""


class FileChecking:
    """Checks what is claimed; one thread of its own works off what waits (``soon``)."""

    def __init__(self, rows: FileRows, blobs: Blobs) -> None:
        self.rows = rows
        self.blobs = blobs
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def wanted(self, purpose: str) -> bool:
        """Whether a file of that purpose is looked at before anybody gets it: to check it, or because the workspace masks its files."""
        return purpose in CHECKED or (purpose in PURPOSES and self.masks(self.rows.workspace))

    def masks(self, workspace: str) -> bool:
        """Whether the workspace keeps no file unmasked."""
        return bool(self.rows.settings(workspace).get("mask_files"))

    def pending(self) -> int:
        """Checks every file that waits for it, of every workspace; how many."""
        done = 0
        while claimed := self.rows.claim_next():
            self.check(claimed)
            done += 1
        return done

    def soon(self) -> None:
        """Lets a thread check what waits; returns at once."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="file-checks", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        try:
            self.pending()
        except Exception:  # the worker, or the next upload, tries again: a thread that dies must not take the server along
            logging.getLogger("luthier.files").exception("checking files stopped")

    def check(self, claimed: Claimed) -> None:
        """Checks the file and writes what came of it. A store that does not answer leaves the file unchecked, for a later try."""
        try:
            values = self._judged(claimed)
        except Stopped:
            return
        except Damaged as error:
            values = self._refused(claimed.info, error.message)
        except Exception as error:
            if _passes(error):
                self.rows.change(claimed, {"lease_owner": "", "lease_expires_at": time.time() + LEASE_S})
                logging.getLogger("luthier.files").warning("%s is not checked yet: %s", claimed.info.id, error)
                return
            # Ours to mend; but a client that waits for the file must not wait for ever.
            logging.getLogger("luthier.files").exception("%s cannot be checked", claimed.info.id)
            said = error.message if isinstance(error, LuthierError) else "the server met a defect of its own"
            values = self._refused(claimed.info, f"the file could not be checked: {said}")
        kept = self.rows.change(claimed, values | NO_LEASE)
        new, old = values.get("blob", claimed.info.blob), claimed.info.blob
        gone = old if kept else new
        if new != old and gone:
            self.blobs.delete(gone)

    def _judged(self, claimed: Claimed) -> dict[str, Any]:
        info, beat = claimed.info, _Heart(self.rows, claimed)
        masked = self.masks(info.workspace)
        if info.purpose not in CHECKED and not masked:
            return {"status": "processed"}
        verdict = _verdict(self.blobs.local(info.blob), info, beat)
        if masked and verdict.good:
            return self._masked(info, beat)
        return _values(verdict) if verdict.good else self._refused(info, verdict.details)

    def _refused(self, info: FileInfo, details: str) -> dict[str, Any]:
        """The file cannot be used. What could not be masked is not kept where everything must be."""
        if not self.masks(info.workspace):
            return {"status": "error", "status_details": details, "facts": {}}
        details = mask_text(details)[0] + "; the content was not kept, because this workspace keeps no file unmasked"
        return {"status": "error", "status_details": details, "facts": {}, "blob": "", "size_bytes": 0}

    def _masked(self, info: FileInfo, beat: _Heart) -> dict[str, Any]:
        """The file's masked form as a new blob, and its facts: labels are taken from what is kept, not from what came."""
        masking = FileMasking(training=info.purpose == "fine-tune")
        stored: Stored = self.blobs.put(masking.lines(self.blobs.local(info.blob), info.filename, beat), ".jsonl")
        is_json = info.filename.lower().endswith(JSON_SUFFIXES) or "." not in info.filename
        name = info.filename if is_json else info.filename.rpartition(".")[0] + ".jsonl"
        verdict = _verdict(self.blobs.local(stored.name), replace(info, filename=name), beat)
        kept = {"blob": stored.name, "size_bytes": stored.size_bytes, "sha256": stored.sha256, "filename": name}
        return kept | _values(verdict) | ({"status_details": masking.said} if verdict.good else {})


def _verdict(path: Path, info: FileInfo, beat: _Heart) -> Verdict:
    if info.purpose == "fine-tune":
        return check_training_file(path, info.filename, beat)
    return check_batch_file(path, beat) if info.purpose == "batch" else check_rows(path, info.filename, beat)


def _passes(error: Exception) -> bool:
    """Whether a later try can end otherwise: the store, the disk or the database does not answer now."""
    return isinstance(error, Overloaded | NoSpace | DBAPIError) or (isinstance(error, OSError) and not isinstance(error, LuthierError))


def _values(verdict: Verdict) -> dict[str, Any]:
    return {"status": "processed" if verdict.good else "error", "status_details": verdict.details, "facts": verdict.facts}


class _Heart:
    """Called for every row: extends the lease now and then; raises ``Stopped`` when it is another's by now, or the file is gone."""

    def __init__(self, rows: FileRows, claimed: Claimed) -> None:
        self._rows, self._claimed = rows, claimed
        self._next = time.monotonic() + LEASE_S / 5

    def __call__(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LEASE_S / 5
        if not self._rows.change(self._claimed, {"lease_expires_at": time.time() + LEASE_S}):
            raise Stopped("the file is checked by another process, or gone")
