"""The one file that decides HTTP status, and the one shape of every error.

``{"error": {message, type, param, code, hint, target, details, innererror}}``: what OpenAI's clients read (the first four), what Azure's
tools read (``code``, ``message`` and the last three), and the remedy. Clients repeat a POST after 409 and 5xx by themselves: where that
cannot help, ``x-should-retry: false`` tells them so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response

from luthier.core import errors

STATUS: dict[type[errors.LuthierError], int] = {
    errors.InputError: 400,
    errors.UnknownName: 404,
    errors.UnsafeFile: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.GateRefused: 409,
    errors.Conflict: 409,
    errors.RateLimited: 429,
    errors.QuotaExceeded: 429,
    errors.NotPossible: 503,
    errors.MissingExtra: 501,
    errors.Overloaded: 503,
    errors.Damaged: 500,
    errors.NoSpace: 507,
    errors.Stopped: 500,
    errors.JobFailed: 500,
}

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
"""OpenAI's words for the kinds of error; other 4xx are ``invalid_request_error``, 5xx are ``server_error``."""

ALL = "see /openapi.json for every address and its methods"
UNSTORABLE = (UnicodeError, OverflowError, DataError)
"""What texts and numbers raise that no database takes: lone surrogates, NUL in PostgreSQL, integers of more than 64 bits."""

AWAY = (OperationalError, InterfaceError, PoolTimeout)
"""What SQLAlchemy raises when the database is away, or so slow that no connection to it comes free."""

WORTH_REPEATING = (errors.Overloaded, errors.RateLimited)


class TooLarge(errors.InputError):
    """The body of a request is larger than the server reads."""

    code = "too_large"


def status_of(error: errors.LuthierError) -> int:
    """The status of an error: its own class's, else the nearest parent's, else 500."""
    if isinstance(error, TooLarge):
        return 413
    return next((STATUS[cls] for cls in type(error).__mro__ if cls in STATUS), 500)


def response(error: Exception) -> Response:
    """The answer to any error. What is not ours is a defect: it is said so, without its text, which may hold a customer's message."""
    if isinstance(error, errors.LuthierError):
        return _known(error)
    if isinstance(error, RequestValidationError):
        param, words = _plainest(error.errors())
        return _shaped(400, f"{param}: {words}" if param else words, "invalid_input", "see /openapi.json", param)
    if isinstance(error, UNSTORABLE):
        return _shaped(400, "a value cannot be kept: half a character, a NUL, or a number beyond all bounds", "invalid_input", "correct it")
    if isinstance(error, AWAY):
        said = _shaped(503, "the database cannot be reached right now", "database_away", "the request is worth repeating: nothing was lost")
        said.headers["retry-after"] = "2"
        return said
    if isinstance(error, HTTPException):
        codes = {404: "not_found", 405: "method_not_allowed"}
        return _shaped(error.status_code, str(error.detail), codes.get(error.status_code, "error"), ALL, "", dict(error.headers or {}))
    return _shaped(500, "the server met a defect of its own", "internal", "the request id finds it in the server's log")


_BRANCH = re.compile(r"(literal|list|dict|tagged-union|nullable|function-\w+|constrained-\w+)\b.*|int|float|str|bool")
_KIND = re.compile(r"literal_error|.*_(type|parsing|from_float)")


def _plainest(found: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """Which field is wrong, and how. A field of several kinds (a number or "auto") is refused once for each of them: where one of the
    refusals is about the value and not about its kind, that kind was meant.
    """
    where = [one["loc"][1:] if one["loc"][:1] in (("body",), ("query",), ("path",), ("header",)) else one["loc"] for one in found]
    fields = [".".join(str(part) for part in parts if not _BRANCH.fullmatch(str(part))) for parts in where]
    about = [one for one, field in zip(found, fields, strict=True) if field == fields[0]]
    meant = [one for one in about if not _KIND.fullmatch(one["type"])] or about
    return fields[0], ", or: ".join(dict.fromkeys(one["msg"] for one in meant[:3]))


def _known(error: errors.LuthierError) -> Response:
    status = status_of(error)
    headers = {}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, WORTH_REPEATING):
        headers["retry-after"] = str(error.retry_after_s)
    elif status in (409, 429) or status >= 500:
        headers["x-should-retry"] = "false"
    return _shaped(status, error.message, error.code, error.hint, getattr(error, "path", getattr(error, "field", "")), headers)


def body(status: int, message: str, code: str, hint: str, param: str = "") -> dict[str, Any]:
    """The JSON of an error (also what a broken stream ends with)."""
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {
        "error": {
            "message": message,
            "type": kind,
            "param": param or None,
            "code": code,
            "hint": hint,
            "target": param or None,
            "details": [],
            "innererror": {"code": code},
        }
    }


def _shaped(status: int, message: str, code: str, hint: str, param: str = "", headers: dict[str, str] | None = None) -> Response:
    said = json.dumps(body(status, message, code, hint, param), ensure_ascii=False)
    return Response(said.encode("utf-8", "backslashreplace"), status, headers, "application/json")
