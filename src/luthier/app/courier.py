"""Delivers what webhooks are to be told: each delivery is a leased row, repeated with growing pauses until it is taken or given up."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, delete, or_, select, update

from luthier.app import posting
from luthier.app.leases import gone, owner
from luthier.app.webhooks import private_allowed, signing
from luthier.core.errors import InputError
from luthier.store.tables import DELIVERIES, WEBHOOKS

BACK_OFF_S = (5.0, 30.0, 120.0, 600.0, 3600.0, 21600.0)
"""The longest pause after the first, second ... failed attempt; after the one that follows the last pause it is given up."""
LEASE_S = 30.0
"""Longer than a delivery can take: who holds a row for longer is dead."""
KEPT_S = 30 * 24 * 3600.0
"""How long ended deliveries are kept."""
UNTRUE_S = 600.0
"""What lies so much further ahead than it can was written before the clock was set back. Less would be two machines' clocks, or a row
that was written since this one looked at its own."""
AT_ONCE = 8
"""Deliveries at once: a receiver that does not answer must not keep the others waiting."""
GONE = 410
"""The status by which a receiver says that it wants no more."""


def pause_s(attempts: int) -> float:
    """The pause after so many failed attempts: up to a quarter shorter by chance, so that repetitions do not come all at once."""
    return BACK_OFF_S[attempts - 1] * (1 - random.random() / 4)


class Courier:
    """Delivers the due rows of every workspace in one database. ``post`` is replaced in tests."""

    def __init__(self, engine: Engine, allow_private: bool = False, *, post: posting.Poster = posting.post) -> None:
        self.engine = engine
        self.allow_private = allow_private
        self._post = post
        self._owner = owner()

    def deliver_due(self, limit: int = 100, may_go_on: Callable[[], bool] = lambda: True) -> int:
        """Tries to deliver what is due now, the longest due first; gives the number of attempts that were made.

        Several couriers share the work: each row is claimed by one of them. Once ``may_go_on`` says no, nothing more is begun.
        """
        rows = self._due(limit)
        if not rows:
            return 0
        with ThreadPoolExecutor(min(AT_ONCE, len(rows)), "courier") as threads:
            return sum(threads.map(lambda row: may_go_on() and self._deliver(row), rows))

    def forget(self) -> int:
        """Deletes what ended long ago; gives the number."""
        old = (DELIVERIES.c.state.in_(("delivered", "failed")), DELIVERIES.c.next_at < time.time() - KEPT_S)
        with self.engine.begin() as connection:
            return int(connection.execute(delete(DELIVERIES).where(*old)).rowcount)

    def _due(self, limit: int) -> list[Row[Any]]:
        """What is due and nobody alive holds."""
        now = time.time()
        due = or_(DELIVERIES.c.next_at <= now, DELIVERIES.c.next_at > now + BACK_OFF_S[-1] + UNTRUE_S)
        query = select(DELIVERIES).where(DELIVERIES.c.state == "pending", due).order_by(DELIVERIES.c.next_at)
        # Rows that others are at are passed over, so more are looked at than are wanted.
        with self.engine.connect() as connection:
            rows = connection.execute(query.limit(2 * limit + AT_ONCE)).all()
        return [row for row in rows if _free(row, now)][:limit]

    def _deliver(self, row: Row[Any]) -> bool:
        """One attempt; False when another courier was faster, or nobody wants it any more."""
        token = secrets.token_hex(8)
        unchanged = (DELIVERIES.c.state == "pending", DELIVERIES.c.attempts == row.attempts, DELIVERIES.c.next_at == row.next_at)
        lease = {"lease_owner": self._owner, "lease_token": token, "lease_expires_at": time.time() + LEASE_S}
        if not self._change(row, row.lease_token, lease, *unchanged):
            return False
        with self.engine.connect() as connection:
            webhook = connection.execute(select(WEBHOOKS).where(WEBHOOKS.c.id == row.webhook)).first()
            private = self.allow_private or private_allowed(connection, row.workspace)
        attempted = webhook is not None and webhook.state == "enabled"
        if webhook is None or not attempted:
            result = _ended("failed", f"the webhook was {'deleted' if webhook is None else 'disabled'}", row.attempts)
        else:
            result = self._attempt(row, webhook, private)
        self._change(row, token, result | {"lease_owner": "", "lease_token": "", "lease_expires_at": 0.0})
        return attempted

    def _change(self, row: Row[Any], token: str, values: dict[str, Any], *only_if: ColumnElement[bool]) -> bool:
        """Changes the row if it is still held under that token."""
        mine = (DELIVERIES.c.id == row.id, DELIVERIES.c.lease_token == token, *only_if)
        with self.engine.begin() as connection:
            return bool(connection.execute(update(DELIVERIES).where(*mine).values(**values)).rowcount == 1)

    def _attempt(self, row: Row[Any], webhook: Row[Any], private: bool) -> dict[str, Any]:
        """Tries once; gives what the row becomes."""
        try:
            status = self._post(webhook.url, row.event, signing(webhook, time.time()), allow_private=private)
        except (InputError, OSError) as error:
            return _again(str(error), row.attempts + 1)
        if 200 <= status < 300:
            return _ended("delivered", "", row.attempts + 1)
        if status == GONE:
            self._disable(webhook)
            return _ended("failed", f"the receiver answered {GONE}: it wants no more, the webhook is disabled", row.attempts + 1)
        return _again(f"the receiver answered {status}", row.attempts + 1)

    def _disable(self, webhook: Row[Any]) -> None:
        """Unless it was given another address meanwhile."""
        same = (WEBHOOKS.c.id == webhook.id, WEBHOOKS.c.url == webhook.url)
        with self.engine.begin() as connection:
            connection.execute(update(WEBHOOKS).where(*same).values(state="disabled", updated_at=time.time()))


def _free(row: Row[Any], now: float) -> bool:
    """Nobody alive holds it."""
    return not now < row.lease_expires_at <= now + LEASE_S + UNTRUE_S or gone(row.lease_owner)


def _ended(state: str, reason: str, attempts: int) -> dict[str, Any]:
    return {"state": state, "attempts": attempts, "last_error": reason[:500], "next_at": time.time()}


def _again(reason: str, attempts: int) -> dict[str, Any]:
    """To be repeated after a pause; failed for good when every pause was used."""
    if attempts > len(BACK_OFF_S):
        return _ended("failed", reason, attempts)
    return {"attempts": attempts, "last_error": reason[:500], "next_at": time.time() + pause_s(attempts)}
