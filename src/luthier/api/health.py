"""What ``/readyz`` says: whether this server can do its work, and what stands in the way. It answers in a second, whatever hangs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from fastapi import Request
from pydantic import BaseModel

from luthier.api.access import Access, Needs, presented
from luthier.api.errors import AWAY
from luthier.api.tenants import Tenants
from luthier.app import health
from luthier.core.errors import LuthierError
from luthier.store.workspace import DEFAULT

BOUND_S = 1.0
"""The longest that a check is waited for."""
FRESH_S = 1.0
"""How long its answer is given again: questions cost nothing, however many there are."""


class Check(BaseModel):
    """Whether one thing is as it should be, and if not, why."""

    ok: bool
    why: str


class Disk(Check):
    """Of the disks that the server writes to the fullest."""

    free_bytes: int | None
    needed_bytes: int | None


class Worker(Check):
    """Whether one beats, wherever it is. None at all, with jobs that wait, is said here, and the server is ready all the same."""

    alive: bool | None


class Deployed(Check):
    """What is deployed in the workspace ``default``. Names are for callers without keys, or with one that may look there."""

    open: list[str] | None = None
    problems: dict[str, str] | None = None


class Checks(BaseModel):
    """Everything that was looked at."""

    database: Check | None = None
    disk: Disk | None = None
    worker: Worker | None = None
    endpoints: Deployed


class Readiness(BaseModel):
    """``ready``: the database, the disk and the endpoints are as they should be."""

    ready: bool
    checks: Checks


class Probe:
    """A question that may hang, asked by a thread of its own: one at a time, and not again while its answer is fresh."""

    def __init__(self, ask: Callable[[], Any], late: Any) -> None:
        self._ask, self._late = ask, late
        self._lock = threading.Lock()
        self._asked: Future[Any] | None = None
        self._since = self._until = 0.0

    async def answer(self) -> Any:
        """The answer, or ``late`` when there is none after a second."""
        with self._lock:
            now = time.monotonic()
            if self._asked is None or (self._asked.done() and now >= self._until):
                self._asked, self._since = Future(), now
                threading.Thread(target=self._work, args=(self._asked,), name="health", daemon=True).start()
            asked, left_s = self._asked, self._since + BOUND_S - now
        if asked.done():
            return asked.result()
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(asked)), max(left_s, 0.0))
        except TimeoutError:
            return self._late

    def _work(self, asked: Future[Any]) -> None:
        try:
            found = self._ask()
        except Exception:  # noqa: BLE001 - a question that fails is no answer; the next one is asked anew
            found = self._late
        self._until = time.monotonic() + FRESH_S
        asked.set_result(found)


class Health:
    """The checks of one server."""

    def __init__(self, tenants: Tenants, access: Access) -> None:
        self._tenants, self._access = tenants, access
        workspace = getattr(tenants.service(), "workspace", None)  # what only serves endpoints has none
        late = f"no answer within {BOUND_S:.0f} second"
        self._database = self._disk = None
        if workspace is not None:
            unanswered = {"ok": False, "why": f"the database: {late}"}, dict(health.UNKNOWN)
            self._database = Probe(lambda: health.database(workspace.engine()), unanswered)
            unseen = {"ok": False, "why": f"the disk: {late}", "free_bytes": None, "needed_bytes": None}
            self._disk = Probe(lambda: health.disk(health.folders(workspace)), unseen)

    async def readiness(self, request: Request) -> dict[str, Any]:
        """A ``Readiness`` as JSON."""
        checks: dict[str, Any] = {}
        if self._database is not None and self._disk is not None:
            (checks["database"], worker), checks["disk"] = await asyncio.gather(self._database.answer(), self._disk.answer())
            mute = not (checks["disk"]["ok"] or worker["alive"])
            checks["worker"] = dict(health.MUTE) if mute and checks["database"]["ok"] else worker
        named = checks.get("database", {"ok": True})["ok"] and await self._may_know(request)
        checks["endpoints"] = self._endpoints(named)
        ready = all(check["ok"] for name, check in checks.items() if name != "worker")
        return {"ready": ready, "checks": checks}

    def _endpoints(self, named: bool) -> dict[str, Any]:
        host = self._tenants.host()
        problems = host.problems
        why = f"{len(problems)} of what is deployed cannot be opened" if problems else ""
        names = {"open": [one.info.name for one in host.all()], "problems": problems} if named else {}
        return {"ok": not problems, "why": why} | names

    async def _may_know(self, request: Request) -> bool:
        """Whether the caller may see names. A key that may not, or is none, is no reason to say less than to everybody."""
        if self._access.guarded and not presented(request):
            return False
        try:
            await self._access.admit(request, Needs("read", workspace=DEFAULT))
        except (LuthierError, *AWAY):
            return False
        return True
