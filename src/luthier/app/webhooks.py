"""Who is told when a job ends: the webhooks of a workspace, and what they are told. ``app.courier`` delivers it."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, delete, func, insert, or_, select, update

from luthier.app import addresses, posting
from luthier.core.errors import Conflict, InputError, QuotaExceeded, UnknownName
from luthier.store.tables import DELIVERIES, WEBHOOKS, WORKSPACES
from luthier.store.workspace import Workspace

SENT = (
    "fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled",
    "batch.cancelled", "batch.completed", "batch.expired", "batch.failed",
)  # fmt: skip
"""The types of events that this server sends."""

KNOWN = (
    *SENT,
    "agent.environment.expired", "agent.environment.failed", "agent.environment.ready", "agent.environment.suspended",
    "agent.session.action_required", "agent.session.created", "agent.session.failed", "agent.session.idle", "agent.session.in_progress",
    "eval.run.canceled", "eval.run.failed", "eval.run.succeeded",
    "realtime.call.incoming", "response.cancelled", "response.completed", "response.failed", "response.incomplete",
    "safety.alert.created", "video.completed", "video.failed",
)  # fmt: skip
"""The types that a webhook may ask for: all that OpenAI's client knows, so that its scripts run; most of them never happen here."""

MOST = 100
"""Webhooks of one workspace."""
KEPT_S = 24 * 3600.0
"""How long the secret before the last rotation goes on signing, when that was asked for."""

Page = tuple[list[Row[Any]], bool]
"""Rows, and whether there are more."""

_ID = re.compile(r"wh_[0-9a-f]{24}")
_DELIVERY = re.compile(r"whdel_[0-9a-f]{24}")


def new_secret() -> str:
    """``whsec_`` and 32 random bytes in base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def signing(row: Row[Any], now: float) -> list[str]:
    """The secrets that sign at this moment: the webhook's, and for a day the one before it."""
    # Not for ever, should the clock have been set back.
    old = row.old_secret and now < row.old_secret_until <= now + 2 * KEPT_S
    return [row.secret, row.old_secret] if old else [row.secret]


def private_allowed(connection: Connection, workspace: str) -> bool:
    """Whether deliveries to addresses that are not public are allowed: by the server's owner, or by the workspace's setting."""
    if os.environ.get("LUTHIER_WEBHOOK_PRIVATE", "") == "1":
        return True
    settings = connection.execute(select(WORKSPACES.c.settings).where(WORKSPACES.c.name == workspace)).scalar()
    return isinstance(settings, dict) and settings.get("webhook_private") is True


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:24]


def insert_new(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Inserts deliveries; one that is there already stays as it is."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as insert_postgres

        connection.execute(insert_postgres(DELIVERIES).on_conflict_do_nothing(), rows)
    else:
        from sqlalchemy.dialects.sqlite import insert as insert_sqlite

        connection.execute(insert_sqlite(DELIVERIES).on_conflict_do_nothing(), rows)


class Webhooks:
    """The webhooks of one workspace: the only writer of their table."""

    def __init__(self, workspace: Workspace, *, resolver: addresses.Resolver = addresses.look_up) -> None:
        self.workspace = workspace
        self.engine: Engine = workspace.engine()
        self._resolver = resolver

    def _is(self, webhook: str) -> ColumnElement[bool]:
        return and_(WEBHOOKS.c.workspace == self.workspace.name, WEBHOOKS.c.id == webhook)

    # -- the resource ---------------------------------------------------------------------------------------------

    def create(self, name: str, url: str, event_types: Sequence[str]) -> Row[Any]:
        """A new webhook; its row is the only one that holds the secret for showing. Raises ``InputError``, ``QuotaExceeded``."""
        now = time.time()
        row: dict[str, Any] = {
            "id": "wh_" + secrets.token_hex(12),
            "workspace": self.workspace.name,
            "name": name,
            "url": url,
            "state": "enabled",
        }
        row |= {"events": _types(event_types), "secret": new_secret(), "created_at": now, "updated_at": now}
        self._check(url)
        with self.engine.begin() as connection:
            mine = select(func.count()).select_from(WEBHOOKS).where(WEBHOOKS.c.workspace == self.workspace.name)
            if connection.execute(mine).scalar_one() >= MOST:
                raise QuotaExceeded(f"the workspace has {MOST} webhooks, which is the most", "delete one that is not needed")
            connection.execute(insert(WEBHOOKS), [row])
        return self.get(row["id"])

    def get(self, webhook: str) -> Row[Any]:
        """The webhook's row; raises ``UnknownName``."""
        found = None
        if _ID.fullmatch(webhook):
            with self.engine.connect() as connection:
                found = connection.execute(select(WEBHOOKS).where(self._is(webhook))).first()
        if found is None:
            raise UnknownName(f"there is no webhook {webhook[:100]!r}", "the list of webhooks: GET /v1/webhook_endpoints")
        return found

    def list(self, *, limit: int = 20, after: str = "") -> Page:
        """A page, newest first, and whether there is more; ``after`` is the last webhook of the page before. Raises ``UnknownName``."""
        query = select(WEBHOOKS).where(WEBHOOKS.c.workspace == self.workspace.name)
        if after:
            query = query.where(_older(WEBHOOKS, self.get(after)))
        return self._page(query.order_by(WEBHOOKS.c.created_at.desc(), WEBHOOKS.c.id.desc()), limit)

    def _page(self, query: Any, limit: int) -> Page:
        with self.engine.connect() as connection:
            rows = list(connection.execute(query.limit(limit + 1)).all())
        return rows[:limit], len(rows) > limit

    def update(self, webhook: str, *, name: str = "", url: str = "", event_types: Sequence[str] = ()) -> Row[Any]:
        """Changes what is given. A new address is a new beginning: a webhook that its receiver had ended is enabled again."""
        row = self.get(webhook)
        wanted: dict[str, Any] = {"name": name} if name else {}
        if url:
            self._check(url)
            wanted |= {"url": url, "state": "enabled"}
        if event_types:
            wanted["events"] = _types(event_types)
        if any(getattr(row, column) != value for column, value in wanted.items()):
            self._change(webhook, wanted | {"updated_at": time.time()})
        return self.get(webhook)

    def enable(self, webhook: str) -> Row[Any]:
        """Delivers again to a webhook whose receiver had answered 410."""
        if self.get(webhook).state != "enabled":
            self._change(webhook, {"state": "enabled", "updated_at": time.time()})
        return self.get(webhook)

    def rotate_secret(self, webhook: str, *, keep_old: bool = False) -> Row[Any]:
        """A new secret, shown this once. With ``keep_old`` the one before it signs too for a day, so that receivers can change over."""
        row, now = self.get(webhook), time.time()
        old = {"old_secret": row.secret, "old_secret_until": now + KEPT_S} if keep_old else {"old_secret": "", "old_secret_until": 0.0}
        self._change(webhook, {"secret": new_secret(), "updated_at": now} | old)
        return self.get(webhook)

    def delete(self, webhook: str) -> None:
        """Removes it and what was to be delivered to it; raises ``UnknownName``."""
        self.get(webhook)
        with self.engine.begin() as connection:
            connection.execute(delete(DELIVERIES).where(DELIVERIES.c.webhook == webhook))
            connection.execute(delete(WEBHOOKS).where(self._is(webhook)))

    def _change(self, webhook: str, values: dict[str, Any]) -> None:
        with self.engine.begin() as connection:
            connection.execute(update(WEBHOOKS).where(self._is(webhook)).values(**values))

    def _private(self) -> bool:
        with self.engine.connect() as connection:
            return private_allowed(connection, self.workspace.name)

    def _check(self, url: str) -> None:
        addresses.check(url, allow_private=self._private(), resolver=self._resolver)

    # -- what they are told ---------------------------------------------------------------------------------------

    def notify(self, type: str, data: dict[str, Any], connection: Connection | None = None) -> None:
        """Writes what is to be delivered to every enabled webhook that wants this type; ``data["id"]`` names what it happened to.

        Telling the same twice is telling it once. With ``connection`` it is part of that transaction, and happens exactly if that does.
        """
        if connection is None:
            with self.engine.begin() as own:
                return self.notify(type, data, own)
        wanting = select(WEBHOOKS).where(WEBHOOKS.c.workspace == self.workspace.name, WEBHOOKS.c.state == "enabled")
        rows = [self._delivery(row.id, type, data) for row in connection.execute(wanting).all() if type in row.events]
        insert_new(connection, rows)
        return None

    def _delivery(self, webhook: str, type: str, data: dict[str, Any]) -> dict[str, Any]:
        """The row; both ids follow from what happened, so the database itself refuses a second one."""
        now, what = time.time(), str(data["id"])
        return {
            "id": "whdel_" + _digest(webhook, type, what),
            "workspace": self.workspace.name,
            "webhook": webhook,
            "event": _event("evt_" + _digest(self.workspace.name, type, what), type, data),
            "state": "pending",
            "created_at": now,
            "next_at": now,
        }

    def test(self, webhook: str, type: str, post: posting.Poster = posting.post) -> int:
        """Sends an invented event of that type now; gives the receiver's status. Raises ``InputError`` when there is no answer."""
        row = self.get(webhook)
        _types([type])
        event = _event("evt_" + secrets.token_hex(12), type, {"id": f"{_PREFIXES.get(type.partition('.')[0], 'obj_')}test"})
        try:
            return post(row.url, event, signing(row, time.time()), allow_private=self._private(), resolver=self._resolver)
        except posting.Silent as error:
            raise InputError(f"{row.url} gave no answer: {error}", "is the receiver running, and reached from here?") from None

    # -- deliveries -----------------------------------------------------------------------------------------------

    def deliveries(self, webhook: str, *, limit: int = 20, after: str = "") -> Page:
        """A page of what was and is to be delivered to a webhook, newest first, and whether there is more. Raises ``UnknownName``."""
        query = select(DELIVERIES).where(DELIVERIES.c.webhook == self.get(webhook).id)
        if after:
            query = query.where(_older(DELIVERIES, self.delivery(webhook, after)))
        return self._page(query.order_by(DELIVERIES.c.created_at.desc(), DELIVERIES.c.id.desc()), limit)

    def delivery(self, webhook: str, delivery: str) -> Row[Any]:
        """One delivery; raises ``UnknownName``."""
        found, owner = None, self.get(webhook).id
        if _DELIVERY.fullmatch(delivery):
            with self.engine.connect() as connection:
                query = select(DELIVERIES).where(DELIVERIES.c.id == delivery, DELIVERIES.c.webhook == owner)
                found = connection.execute(query).first()
        if found is None:
            raise UnknownName(f"webhook {webhook} has no delivery {delivery[:100]!r}", f"GET /api/v1/webhooks/{webhook}/deliveries")
        return found

    def replay(self, webhook: str, delivery: str) -> Row[Any]:
        """Delivers it again from the first attempt on; raises ``Conflict`` while it is still to be delivered or nothing would be."""
        row = self.delivery(webhook, delivery)
        if self.get(webhook).state != "enabled":
            raise Conflict(f"webhook {webhook} is disabled", f"POST /api/v1/webhooks/{webhook}/enable")
        fresh = {"state": "pending", "attempts": 0, "last_error": "", "next_at": time.time()}
        with self.engine.begin() as connection:
            ended = and_(DELIVERIES.c.id == delivery, DELIVERIES.c.state != "pending")
            done = connection.execute(update(DELIVERIES).where(ended).values(**fresh))
        if done.rowcount != 1:
            raise Conflict(f"delivery {row.id} is being delivered: attempt {row.attempts + 1} is to come", "wait for its end")
        return self.delivery(webhook, delivery)


_PREFIXES = {"fine_tuning": "ftjob-", "batch": "batch_", "response": "resp_", "eval": "evalrun_", "video": "video_"}


def _older(table: Any, row: Row[Any]) -> ColumnElement[bool]:
    """After ``row`` in the order newest first."""
    return or_(table.c.created_at < row.created_at, and_(table.c.created_at == row.created_at, table.c.id < row.id))


def _event(identity: str, type: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"id": identity, "object": "event", "type": type, "created_at": int(time.time()), "data": data}


def _types(event_types: Sequence[str]) -> list[str]:
    """Each type once, in the order given; raises for one that nobody knows, and when there is none."""
    types = list(dict.fromkeys(event_types))
    if not types:
        raise InputError("event_types: is empty", f"name what it is told: {', '.join(SENT)}")
    for type in types:
        if type not in KNOWN:
            raise InputError(f"event_types: there is no type {type[:100]!r}", f"this server sends {', '.join(SENT)}")
    return types
