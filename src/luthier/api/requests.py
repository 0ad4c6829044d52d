"""What surrounds every request: its id, count and time, its row of the audit log, and that no error leaves without the one shape."""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from luthier.api import errors
from luthier.api.access import Admission, admission
from luthier.api.measures import Measures
from luthier.app.audit import Audit
from luthier.core.errors import InputError

UNWRITABLE = re.compile("[\0\ud800-\udfff]")
ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
LARGEST_BYTES = 8_000_000
HUNG_UP = 499
"""The status under which a request is counted whose client went away before it was answered (nginx's word for it)."""


class Body(BaseModel):
    """The JSON object that a route takes. A field that it does not know is refused: a typing error must not be silence."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=False)

    @model_validator(mode="before")
    @classmethod
    def _writable(cls, data: Any) -> Any:
        """Half an emoji cannot be answered or kept, and PostgreSQL takes no NUL in a text."""
        if not writable(data):
            raise PydanticCustomError("unwritable", "The body holds a text with a NUL or half a surrogate pair, which nothing can keep")
        return data


def writable(data: Any) -> bool:
    """Whether every text in a JSON value is one that databases and UTF-8 can hold."""
    waiting = [data]
    while waiting:  # not by recursion: what came may be deep
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, str) and UNWRITABLE.search(one):
            return False
    return True


class Requests:
    """ASGI middleware. A caller's own ``x-request-id`` is kept when it is short and plain."""

    def __init__(self, app: ASGIApp, measures: Measures, audit: Audit | None = None) -> None:
        self.app = app
        self.measures = measures
        self.audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
        request_id = given if ID.fullmatch(given) else secrets.token_hex(8)
        scope["request_id"] = request_id
        start, status, entry = time.perf_counter(), 0, admission(scope)
        receive = _limited(scope, receive)

        async def tagged(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update({**entry.headers, "x-request-id": request_id})
                await self._note(scope, entry, status)  # before the caller knows: what was done is never without its row
            await send(message)

        try:
            await self.app(scope, receive, tagged)
        except ClientDisconnect:
            if not status:
                await self._note(scope, entry, HUNG_UP)
            status = HUNG_UP
        except Exception as error:
            logging.getLogger("luthier.api").exception("request %s failed", request_id)
            if not status:
                await errors.response(error)(scope, receive, tagged)
        finally:
            entry.leave()
        self._count(scope, status, time.perf_counter() - start)

    async def _note(self, scope: Scope, entry: Admission, status: int) -> None:
        """Writes a change, also one that was forbidden, into the audit log; what strangers and the impatient send is only counted."""
        changes = scope["method"] in CHANGING and entry.needs is not None and entry.needs.changes
        if self.audit is None or not changes or not entry.workspace or entry.limited:
            return
        action = f"{scope['method']} {getattr(scope.get('route'), 'path', '')}"
        said = {"key": entry.key, "action": action, "object": scope["path"], "status": status, "request_id": scope["request_id"]}
        try:
            await run_in_threadpool(self.audit.add, entry.workspace, **said)
        except Exception:  # the change was made: that must be said whatever becomes of its row
            logging.getLogger("luthier.api").exception("request %s is not in the audit log: %s", scope["request_id"], said)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        # The route's pattern, not the address: addresses are without bound.
        route = getattr(scope.get("route"), "path", "none")
        self.measures.requests.labels(route, scope["method"] if scope["method"] in METHODS else "other", str(status)).inc()
        self.measures.seconds.labels(route).observe(seconds)
        if status >= 400 and status != HUNG_UP:
            self.measures.errors.labels(route, str(status)).inc()


def _limited(scope: Scope, receive: Receive) -> Receive:
    """``receive``, which refuses a body above ``LARGEST_BYTES``; multipart bodies are read as streams by who takes them."""
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    if kind.lower().startswith(b"multipart/"):
        return receive
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > LARGEST_BYTES:
            raise errors.TooLarge(f"the body is larger than {LARGEST_BYTES} bytes", "send less in one call")
        return message

    return counted


CHANGING = {"POST", "PUT", "PATCH", "DELETE"}
METHODS = {*CHANGING, "GET", "HEAD", "OPTIONS"}


async def json_body(request: Request, like: str = '{"text": "..."}') -> dict[str, Any]:
    """The request's JSON object (``like`` this); raises ``InputError`` (``TooLarge``) that says what is wrong with it."""
    parts = [part async for part in request.stream()]
    try:
        body = json.loads(b"".join(parts))
    except (ValueError, RecursionError) as error:
        raise InputError(f"the body is not JSON: {error}", f"send {like} with content-type: application/json") from None
    if not isinstance(body, dict):
        raise InputError(f"the body is a JSON {type(body).__name__}, not an object", f"send {like}")
    return body
