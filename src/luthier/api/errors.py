"""The one file that decides HTTP status, and the one shape of every error: ``{"error": {message, type, param, code, hint}}``."""

from __future__ import annotations

import json
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from luthier.core import errors

STATUS: dict[type[errors.LuthierError], int] = {
    errors.InputError: 400,
    errors.UnknownName: 404,
    errors.UnsafeFile: 400,
    errors.GateRefused: 409,
    errors.Conflict: 409,
    errors.NotPossible: 503,
    errors.MissingExtra: 501,
    errors.Overloaded: 503,
    errors.Damaged: 500,
    errors.NoSpace: 507,
    errors.JobFailed: 500,
}

TYPES = {400: "invalid_request", 404: "not_found", 405: "method_not_allowed", 409: "conflict", 413: "too_large", 422: "invalid_request"}


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
        status = status_of(error)
        headers = {"retry-after": str(error.retry_after_s)} if isinstance(error, errors.Overloaded) else {}
        return _shaped(status, error.message, error.code, error.hint, getattr(error, "path", getattr(error, "field", "")), headers)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"] if part != "body")
        return _shaped(422, f"{param}: {first['msg']}" if param else first["msg"], "invalid_input", "see /api/v1/openapi.json", param)
    if isinstance(error, HTTPException):
        codes = {404: "not_found", 405: "method_not_allowed"}
        hint = "see /api/v1/openapi.json for every address and its methods"
        return _shaped(error.status_code, str(error.detail), codes.get(error.status_code, "error"), hint, "", dict(error.headers or {}))
    return _shaped(500, "the server met a defect of its own", "internal", "the request id finds it in the server's log")


def _shaped(status: int, message: str, code: str, hint: str, param: str = "", headers: dict[str, str] | None = None) -> Response:
    kind = "overloaded" if code == "overloaded" else TYPES.get(status, "server_error")
    body: dict[str, Any] = {"error": {"message": message, "type": kind, "param": param or None, "code": code, "hint": hint}}
    return Response(json.dumps(body, ensure_ascii=False), status, headers, "application/json")
