"""The server's answer to a request that failed, as the same error that the server raised."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from luthier.core import errors

_BY_STATUS: dict[int, type[errors.LuthierError]] = {
    400: errors.InputError,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.UnknownName,
    405: errors.InputError,
    409: errors.Conflict,
    413: errors.InputError,
    429: errors.QuotaExceeded,
    503: errors.Overloaded,
    507: errors.NoSpace,
}
"""Where the code is none that we know (a newer server, a proxy in between)."""


def failure(status: int, headers: Mapping[str, str], body: bytes) -> errors.LuthierError:
    """The error; one of a kind that is not known here is a ``JobFailed`` that says the status."""
    said = _said(status, body)
    error = errors.from_json(said | {"retry_after_s": wait_of(headers) or 1})
    unknown = isinstance(error, errors.JobFailed) and said.get("code") != errors.JobFailed.code
    if unknown and status in _BY_STATUS:
        error = _BY_STATUS[status](error.message, error.hint)
    identity = headers.get("x-request-id", "")
    if status >= 500 and identity and identity not in error.hint:
        error.hint = f"{error.hint} (request {identity})".strip()
    return error


def _said(status: int, body: bytes) -> dict[str, Any]:
    try:
        found = dict(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        shown = body[:200].decode("utf-8", "replace").strip()
        message = f"the server answered with status {status}" + (f": {shown}" if shown else "")
        return {"code": "", "message": message, "hint": "is this the address of a Luthier server?"}
    # What an error carries comes back by the words of OpenAI's shape.
    place = str(found.get("param") or "")
    return {name: found.get(name) or "" for name in ("code", "message", "hint")} | {"path": place, "field": place}


def wait_of(headers: Mapping[str, str]) -> int:
    """Seconds that ``Retry-After`` asks to wait (0: it does not say, or not as a number)."""
    given = headers.get("retry-after", "").strip()
    return int(given) if given.isascii() and given.isdigit() and len(given) < 9 else 0
