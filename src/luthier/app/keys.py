"""API keys: who may do what in which workspace. Only a key's hash is kept; the key itself is shown once.

What each scope allows:

- ``read``: look at everything of the workspace (files and what is in them, jobs, models, deployments, reports, monitors); change nothing,
  ask nothing.
- ``infer``: ask (chat, completions, embeddings, predict, batches), judge answers, and list models; nothing else can be looked at.
- ``train``: everything that ``read`` allows; upload and delete files; create, cancel, pause, resume and delete jobs; delete tuned models.
- ``deploy``: everything that ``read`` allows; make deployments answer with a model, change and remove them.
- ``admin``: all of these; keys, webhooks and the audit log of its workspace. An admin key of the workspace ``default`` also makes and
  sets workspaces.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import string
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Engine, Row, and_, insert, or_, select, update
from sqlalchemy.exc import OperationalError

from luthier.app.workspaces import Workspaces
from luthier.core.errors import Conflict, InputError, NoSpace, UnknownName
from luthier.store.tables import KEYS

Scope = Literal["admin", "train", "deploy", "infer", "read"]
SCOPES: tuple[Scope, ...] = ("admin", "train", "deploy", "infer", "read")
ALLOWS: dict[str, frozenset[str]] = {
    "admin": frozenset(SCOPES),
    "train": frozenset({"train", "read"}),
    "deploy": frozenset({"deploy", "read"}),
    "infer": frozenset({"infer"}),
    "read": frozenset({"read"}),
}
"""What a scope of a key lets its holder do."""

LIMITS = ("requests_per_minute", "concurrent")
MOST = 1_000_000
"""The largest limit that a key can have."""

LONGEST_S = 100 * 365 * 86_400
SEEN_S = 60.0
"""``last_used_at`` is written at most this often."""

ERRAND_S = 600
"""A key that lives no longer is one that a command made for itself."""

_LETTERS = string.ascii_letters + string.digits
_SECRET = re.compile(r"lt-[A-Za-z0-9]{43}")
_ID = re.compile(r"key_[0-9a-f]{24}")
_SHOWN = 7


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key without its secret. Times are seconds since 1970, 0: never; ``limits``: see ``app.limits``."""

    id: str
    workspace: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    limits: Mapping[str, int]
    created_at: float
    expires_at: float
    last_used_at: float
    revoked_at: float

    @property
    def allowed(self) -> frozenset[str]:
        """What it lets its holder do."""
        return frozenset().union(*(ALLOWS.get(scope, frozenset()) for scope in self.scopes))

    def state(self, now: float) -> str:
        """``active``, ``revoked`` or ``expired``."""
        if self.revoked_at:
            return "expired" if self.revoked_at == self.expires_at else "revoked"
        return "expired" if self.expires_at and now >= self.expires_at else "active"

    def as_json(self) -> dict[str, Any]:
        """What the command line and the server show; times that never come are null."""
        times = {name: int(getattr(self, name)) or None for name in ("expires_at", "last_used_at", "revoked_at")}
        named = {"id": self.id, "object": "key", "workspace": self.workspace, "name": self.name, "prefix": self.prefix}
        facts = {"scopes": list(self.scopes), "limits": dict(self.limits), "state": self.state(time.time())}
        return named | facts | {"created_at": int(self.created_at)} | times


class LookedUp(NamedTuple):
    """The key of a secret, or why there is none."""

    key: KeyInfo | None
    reason: str = ""


def new_secret() -> str:
    """``lt-`` and 43 letters and digits by chance: 256 bits."""
    return "lt-" + "".join(secrets.choice(_LETTERS) for _ in range(43))


def digest(secret: str) -> str:
    """What is kept of a secret: its SHA-256. A slow hash would protect guessable secrets; 256 bits by chance are none."""
    return hashlib.sha256(secret.encode("utf-8", "backslashreplace")).hexdigest()


def _info(row: Row[Any]) -> KeyInfo:
    fields = {name: getattr(row, name) for name in KeyInfo.__dataclass_fields__}
    return KeyInfo(**fields | {"scopes": tuple(row.scopes), "limits": dict(row.limits)})


class Keys:
    """The keys of every workspace of a database: the only writer of their table."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    # -- make and end -----------------------------------------------------------------------------------------------

    def create(
        self, workspace: str, name: str, scopes: Iterable[str], *, expires_in_s: int = 0, limits: Mapping[str, int] | None = None
    ) -> tuple[KeyInfo, str]:
        """A new key, and its secret, which nothing can show again. Raises ``InputError``, ``UnknownName`` (of the workspace)."""
        wanted = check_scopes(scopes)
        check_limits(limits or {})
        if not 0 <= expires_in_s <= LONGEST_S:
            raise InputError(f"expires_in_s: {expires_in_s} is not from 0 to {LONGEST_S}", "0: it never expires")
        if len(name) > 200 or "\0" in name:
            raise InputError("name: has a NUL or more than 200 letters", "choose a shorter name")
        Workspaces(self.engine).get(workspace)
        secret, now = new_secret(), time.time()
        row: dict[str, Any] = {"id": "key_" + secrets.token_hex(12), "workspace": workspace, "name": name, "scopes": list(wanted)}
        row |= {"digest": digest(secret), "prefix": secret[:_SHOWN], "limits": dict(limits or {}), "created_at": now}
        row |= {"expires_at": now + expires_in_s if expires_in_s else 0.0, "last_used_at": 0.0, "revoked_at": 0.0}
        with self.engine.begin() as connection:
            connection.execute(insert(KEYS), [row])
        return self.get(workspace, str(row["id"])), secret

    def revoke(self, workspace: str, key: str) -> KeyInfo:
        """Makes a key invalid at once and for ever; again: no change. Raises ``UnknownName``."""
        self.get(workspace, key)
        # Never 0, which is "not revoked", whatever the clock says.
        self._change(and_(KEYS.c.id == key, KEYS.c.revoked_at == 0), {"revoked_at": max(time.time(), 1.0)})
        return self.get(workspace, key)

    def rotate(self, workspace: str, key: str) -> tuple[KeyInfo, str]:
        """A new secret for the key; the one before is invalid at once. Raises ``UnknownName``, ``Conflict`` for one that has ended."""
        info, secret = self.get(workspace, key), new_secret()
        values = {"digest": digest(secret), "prefix": secret[:_SHOWN]}
        ended = info.state(time.time()) != "active"
        if ended or not self._change(and_(KEYS.c.id == key, KEYS.c.revoked_at == 0), values):
            raise Conflict(f"the key {key} is {self.get(workspace, key).state(time.time())}", "make a new one: luthier keys create")
        return self.get(workspace, key), secret

    def _change(self, which: ColumnElement[bool], values: Mapping[str, Any]) -> bool:
        with self.engine.begin() as connection:
            return connection.execute(update(KEYS).where(which).values(**values)).rowcount > 0

    # -- look -------------------------------------------------------------------------------------------------------

    def get(self, workspace: str, key: str) -> KeyInfo:
        """One key of a workspace; raises ``UnknownName``."""
        found = None
        if _ID.fullmatch(key):
            with self.engine.connect() as connection:
                found = connection.execute(select(KEYS).where(KEYS.c.workspace == workspace, KEYS.c.id == key)).first()
        if found is None:
            raise UnknownName(f"there is no key {key[:100]!r}", "luthier keys list (GET /api/v1/keys)")
        return _info(found)

    def list(self, workspace: str, *, limit: int = 100, after: str = "", ended: bool = False) -> tuple[list[KeyInfo], bool]:
        """A page, newest first, and whether there is more; with ``ended`` revoked and expired ones too. Raises ``UnknownName``."""
        query = select(KEYS).where(KEYS.c.workspace == workspace)
        if not ended:
            query = query.where(_active(time.time()))
        if after:
            last, made = self.get(workspace, after), KEYS.c.created_at
            query = query.where(or_(made < last.created_at, and_(made == last.created_at, KEYS.c.id < last.id)))
        with self.engine.connect() as connection:
            rows = connection.execute(query.order_by(KEYS.c.created_at.desc(), KEYS.c.id.desc()).limit(limit + 1)).all()
        return [_info(row) for row in rows[:limit]], len(rows) > limit

    def any(self) -> bool:
        """Whether somebody holds a valid key (those apart that commands make for themselves)."""
        lasts = or_(KEYS.c.expires_at == 0, KEYS.c.expires_at - KEYS.c.created_at > ERRAND_S)
        with self.engine.connect() as connection:
            return connection.execute(select(KEYS.c.id).where(_active(time.time()), lasts).limit(1)).first() is not None

    # -- use --------------------------------------------------------------------------------------------------------

    def look_up(self, secret: str) -> LookedUp:
        """Whose secret it is, if it is valid now: one look at an index."""
        if not _SECRET.fullmatch(secret):
            return LookedUp(None, "unknown")
        with self.engine.connect() as connection:
            row = connection.execute(select(KEYS).where(KEYS.c.digest == digest(secret))).first()
        if row is None:
            return LookedUp(None, "unknown")
        info = _info(row)
        state = info.state(time.time())
        if state == "expired" and not info.revoked_at:
            # Written down, so that a clock that is set back does not bring it to life again.
            self._note(and_(KEYS.c.id == info.id, KEYS.c.revoked_at == 0), {"revoked_at": info.expires_at})
        return LookedUp(info) if state == "active" else LookedUp(None, state)

    def used(self, key: KeyInfo) -> None:
        """Writes that it was used now, at most once a minute. That it cannot be written is no reason to refuse the caller."""
        now = time.time()
        if abs(now - key.last_used_at) < SEEN_S:
            return
        self._note(and_(KEYS.c.id == key.id, KEYS.c.last_used_at == key.last_used_at), {"last_used_at": now})

    def _note(self, which: ColumnElement[bool], values: Mapping[str, Any]) -> None:
        """A change that the answer does not wait for to be possible: the database is locked or away, the disk full or read only."""
        with contextlib.suppress(OperationalError, NoSpace):
            self._change(which, values)


def _active(now: float) -> ColumnElement[bool]:
    return and_(KEYS.c.revoked_at == 0, or_(KEYS.c.expires_at == 0, KEYS.c.expires_at > now))


def check_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """Each scope once, in the order of ``SCOPES``; raises ``InputError`` for one that does not exist, and when there is none."""
    given = set(scopes)
    for scope in given - set(SCOPES):
        raise InputError(f"scopes: there is no scope {str(scope)[:100]!r}", f"known: {', '.join(SCOPES)}")
    if not given:
        raise InputError("scopes: is empty", f"name what the key may do: {', '.join(SCOPES)}")
    return tuple(scope for scope in SCOPES if scope in given)


def check_limits(limits: Mapping[str, Any]) -> None:
    """Raises ``InputError`` for a limit that does not exist or cannot be."""
    for name, value in limits.items():
        if name not in LIMITS:
            raise InputError(f"limits.{name[:100]}: there is no such limit", f"known: {', '.join(LIMITS)}")
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
            raise InputError(f"limits.{name}: {str(value)[:100]!r} is not a whole number from 0 to {MOST}", "0 is without limit")
