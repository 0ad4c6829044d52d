"""Batches: rows that any server takes under a lease and works off; ``api.batching`` asks the models."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Engine, insert, select, update

from luthier.app.leases import FREE, LEASE_S, free, owner
from luthier.app.tuning_objects import page
from luthier.core.batch import ALIVE, FINAL, WINDOW_S, BatchRequest, State, may_move
from luthier.core.errors import Conflict, SpecError, UnknownName
from luthier.store.database import alone
from luthier.store.tables import BATCHES

if TYPE_CHECKING:
    from luthier.app.files import Files

REPEAT_S = 600.0
"""A client that repeats a POST whose answer it did not get means the batch of exactly this request that is younger than this."""

LOOKED_AT = 100

Record = dict[str, Any]


class Batches:
    """The batches of one workspace, or (``workspace=""``, for who works them off) of all."""

    def __init__(self, engine: Engine, workspace: str = "") -> None:
        self.engine, self.workspace = engine, workspace

    def _is(self, batch: str) -> list[ColumnElement[bool]]:
        return [BATCHES.c.id == batch, *([BATCHES.c.workspace == self.workspace] if self.workspace else [])]

    # -- owners ---------------------------------------------------------------------------------------------------

    def create(self, request: BatchRequest, files: Files, *, repeated: bool = False) -> Record:
        """A batch of a file with the purpose ``batch``; raises ``SpecError`` for another one, ``UnknownName`` for none."""
        info = files.get(request.input_file_id)
        if info.purpose != "batch":
            raise SpecError("input_file_id", f"{info.id} has the purpose {info.purpose!r}", "upload it with purpose batch")
        now, body = time.time(), request.model_dump(mode="json")
        fingerprint = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        row = {
            "id": f"batch_{secrets.token_hex(12)}",
            "workspace": self.workspace,
            "state": "validating",
            "endpoint": request.url,
            "input_file": info.id,
            "request": body,
            "fingerprint": fingerprint,
            "created_at": now,
            "expires_at": now + WINDOW_S,
        }
        with self.engine.begin() as connection:
            alone(connection, f"batches of {self.workspace}")
            same = (BATCHES.c.workspace == self.workspace, BATCHES.c.fingerprint == fingerprint, BATCHES.c.created_at > now - REPEAT_S)
            known = connection.execute(select(BATCHES.c.id).where(*same).order_by(BATCHES.c.seq.desc())).scalar() if repeated else None
            if known is None:
                connection.execute(insert(BATCHES).values(**row))
        return self.get(known or str(row["id"]))

    def row(self, batch: str) -> Record:
        """The row; raises ``UnknownName``."""
        with self.engine.connect() as connection:
            found = connection.execute(select(BATCHES).where(*self._is(batch))).mappings().first()
        if found is None:
            raise UnknownName(f"there is no batch {batch[:60]!r}", "list them: GET /v1/batches")
        return dict(found)

    def get(self, batch: str) -> Record:
        """The batch as OpenAI's object; raises ``UnknownName``."""
        return as_object(self.row(batch))

    def list(self, limit: int = 20, after: str = "") -> Record:
        """Batches newest first, from behind ``after``."""
        query = select(BATCHES).where(BATCHES.c.workspace == self.workspace).order_by(BATCHES.c.seq.desc()).limit(limit + 1)
        if after:
            query = query.where(BATCHES.c.seq < self.row(after)["seq"])
        with self.engine.connect() as connection:
            return page([as_object(dict(row)) for row in connection.execute(query).mappings()], limit)

    def cancel(self, batch: str) -> Record:
        """Asks for its end: who works on it sees that within seconds and keeps what was answered. Raises ``Conflict`` for an ended one."""
        row = self.row(batch)
        if row["state"] == "cancelling":
            return as_object(row)
        if not may_move(row["state"], "cancelling"):
            raise Conflict(f"batch {batch} is {row['state']} and cannot be cancelled", "only one that has not ended can")
        values = {"state": "cancelling", "times": row["times"] | {"cancelling_at": time.time()}}
        with self.engine.begin() as connection:
            done = connection.execute(update(BATCHES).where(*self._is(batch), BATCHES.c.state == row["state"]).values(**values))
        return self.get(batch) if done.rowcount else self.cancel(batch)

    # -- who works them off -----------------------------------------------------------------------------------------

    def claim_next(self, busy: Collection[str] = (), without: Collection[str] = ()) -> tuple[Record, str] | None:
        """The oldest batch that nobody alive works on, now ours, and the token; workspaces that are not ``busy`` go first."""
        query = select(BATCHES).where(BATCHES.c.state.in_(ALIVE), BATCHES.c.id.not_in(list(without))).order_by(BATCHES.c.seq)
        with self.engine.connect() as connection:
            found = [dict(row) for row in connection.execute(query.limit(LOOKED_AT)).mappings()]
        now = time.time()
        for row in sorted(found, key=lambda one: (one["workspace"] in busy, one["seq"])):
            if not free(row, now):
                continue
            token = secrets.token_hex(8)
            lease = {"lease_owner": owner(), "lease_token": token, "lease_expires_at": now + LEASE_S}
            seen = (BATCHES.c.id == row["id"], BATCHES.c.lease_token == row["lease_token"], BATCHES.c.state == row["state"])
            with self.engine.begin() as connection:
                if connection.execute(update(BATCHES).where(*seen).values(**lease)).rowcount:
                    return row | lease, token
        return None

    def beat(self, batch: str, token: str) -> State | None:
        """Extends the lease; the state that the batch has now, or none when it is no longer ours."""
        if not self.change(batch, token, lease_expires_at=time.time() + LEASE_S):
            return None
        state: State = self.row(batch)["state"]
        return state

    def change(self, batch: str, token: str, **values: Any) -> bool:
        """Changes a batch that is still ours; whether it was."""
        with self.engine.begin() as connection:
            ours = (BATCHES.c.id == batch, BATCHES.c.lease_token == token)
            return bool(connection.execute(update(BATCHES).where(*ours).values(**values)).rowcount)

    def move(self, batch: str, token: str, new: State, tell: Callable[[Connection], None] = lambda _: None, **values: Any) -> bool:
        """Moves a batch that is still ours, if that is legal from the state that it has; whether it was. A final state ends the lease.
        ``tell`` is called in the same transaction: what it writes is there exactly if the move is.
        """
        row = self.row(batch)
        if not may_move(row["state"], new):
            return False
        times = row["times"] | {f"{new}_at": time.time()}
        ours = (BATCHES.c.id == batch, BATCHES.c.lease_token == token, BATCHES.c.state == row["state"])
        with self.engine.begin() as connection:
            free = FREE if new in FINAL else {}
            if not connection.execute(update(BATCHES).where(*ours).values(state=new, times=times, **values, **free)).rowcount:
                return False
            tell(connection)
        return True

    def release(self, batch: str, token: str, rest_s: float = 0.0) -> None:
        """Lets go of a batch; nobody takes it for ``rest_s`` seconds."""
        self.change(batch, token, **FREE | {"lease_expires_at": time.time() + rest_s if rest_s else 0.0})


def as_object(row: Mapping[str, Any]) -> Record:
    """A ``batch`` as OpenAI's clients read it."""
    times = {name: int(row["times"][name]) if name in row["times"] else None for name in TIMES}
    counts = {name: int(row["counts"].get(name, 0)) for name in ("total", "completed", "failed")}
    return {
        "id": row["id"],
        "object": "batch",
        "endpoint": row["endpoint"],
        "errors": {"object": "list", "data": list(row["errors"])} if row["errors"] else None,
        "input_file_id": row["input_file"],
        "completion_window": row["request"]["completion_window"],
        "status": row["state"],
        "output_file_id": row["output_file"] or None,
        "error_file_id": row["error_file"] or None,
        "created_at": int(row["created_at"]),
        "expires_at": int(row["expires_at"]),
        **times,
        "request_counts": counts,
        "metadata": row["request"].get("metadata"),
    }


TIMES = ("in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at")
"""When a batch came into each state."""
