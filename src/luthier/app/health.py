"""Whether a server can do its work: does the database answer, has the disk room, is there a worker for the jobs that wait."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select

from luthier.store.tables import TUNINGS, WORKERS
from luthier.store.workspace import Workspace

ROOM_BYTES = 64 << 20
"""The least that must be free on a disk: the largest part of an upload. On a small disk a share is enough."""
ROOM_SHARE = 0.05

SEEN_S = 60.0
"""A worker that wrote nothing for so long is taken for gone."""

WAITING = ("validating_files", "queued")
"""States of jobs that need a worker."""

UNKNOWN = {"ok": False, "why": "without the database nobody knows whether jobs wait", "alive": None}
MUTE = {"ok": False, "why": "no worker was seen lately, but none can say that it is there while the disk is full", "alive": None}


def database(engine: Engine) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the database answers of itself and of the workers: ``{"ok", "why"}`` each, and whether a worker is ``alive``."""
    try:
        with engine.connect() as connection:
            seen = connection.execute(select(WORKERS.c.seen_at)).scalars().all()
            leases = select(TUNINGS.c.lease_expires_at).where(TUNINGS.c.state == "running").order_by(TUNINGS.c.lease_expires_at.desc())
            held_until = connection.execute(leases.limit(1)).scalar() or 0.0
            waits = connection.execute(select(TUNINGS.c.id).where(TUNINGS.c.state.in_(WAITING)).limit(1)).first() is not None
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer; its own words may hold an address
        return {"ok": False, "why": f"the database does not answer: {type(error).__name__}"}, dict(UNKNOWN)
    now = time.time()
    alive = held_until > now or any(abs(now - at) < SEEN_S for at in seen)
    why = "" if alive else "no worker was seen lately" + (", and jobs wait: luthier worker runs them" if waits else "; no job waits")
    return {"ok": True, "why": ""}, {"ok": alive or not waits, "why": why, "alive": alive}


def disk(folders: Iterable[Path]) -> dict[str, Any]:
    """Of the disks that these folders are on the one with the least room: ``{"ok", "why", "free_bytes", "needed_bytes"}``."""
    found = [_room(folder) for folder in folders]
    return min(found, key=lambda one: (one["ok"], one["free_bytes"]))


def _room(folder: Path) -> dict[str, Any]:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        said = os.statvfs(folder)
    except OSError as error:
        return {"ok": False, "why": f"the disk cannot be looked at: {error.strerror}", "free_bytes": 0, "needed_bytes": ROOM_BYTES}
    free, needed = said.f_bavail * said.f_frsize, min(ROOM_BYTES, int(said.f_blocks * said.f_frsize * ROOM_SHARE))
    what = ", so uploads are refused and jobs wait: free some space"
    why = f"the disk has {free:,} bytes left, and {needed:,} must be free{what}" if free < needed else ""
    if not why and said.f_files and not said.f_favail:
        why = f"the disk takes no more files{what}"
    return {"ok": not why, "why": why, "free_bytes": free, "needed_bytes": needed}


def folders(workspace: Workspace) -> list[Path]:
    """Where a server writes: the home, the store of files and the database, as far as they are on disks of this machine."""
    found = [workspace.root]
    if not workspace.blobs.scheme:
        found.append(workspace.blobs.root)
    url = workspace.engine().url
    if url.get_backend_name() == "sqlite" and url.database:
        found.append(Path(url.database).absolute().parent)
    return found
