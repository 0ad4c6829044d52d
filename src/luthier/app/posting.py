"""Sends one signed event to one address: to the numbers that were judged, once, without redirects, proxies or patience."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import io
import json
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from functools import cache
from http.client import HTTPException, HTTPResponse
from typing import Any

from luthier.app import addresses
from luthier.app.addresses import Place, Resolver, Target

TIMEOUT_S = 10.0
"""How long a whole delivery may take, from the look-up of the name to the end of the answer."""
LARGEST_ANSWER_BYTES = 64 * 1024

Poster = Callable[..., int]
"""What has ``post``'s shape."""


class Silent(OSError):
    """The receiver gave no answer: unknown name, refused connection, wrong certificate, time out, something that is not HTTP."""


def signature(secret: str, identity: str, timestamp: int, body: bytes) -> str:
    """``v1,`` and the HMAC-SHA256 of "id.timestamp.body" (Standard Webhooks, what ``client.webhooks.unwrap`` verifies)."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    said = f"{identity}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()


def post(
    url: str,
    event: dict[str, Any],
    secrets: Sequence[str],
    *,
    allow_private: bool = False,
    resolver: Resolver = addresses.look_up,
    context: ssl.SSLContext | None = None,
    timeout_s: float = TIMEOUT_S,
) -> int:
    """Delivers ``event``, signed with each of ``secrets``; gives the status that the receiver answered with.

    ``webhook-id`` is the event's id: the same at every repetition, so a receiver can know what it has had already.
    Raises ``InputError`` when the address is not allowed, ``Silent`` when there was no answer.
    """
    end = time.monotonic() + timeout_s
    try:
        target = addresses.resolve(url, allow_private=allow_private, resolver=resolver)
        request = _request(target.place, event, secrets)
        with _connect(target, end, context) as connection:
            connection.sendall(request)
            return _status(connection, end)
    except (OSError, HTTPException) as error:
        raise Silent(_in_words(error)) from None


def _request(place: Place, event: dict[str, Any], secrets: Sequence[str]) -> bytes:
    from luthier import __version__

    body = json.dumps(event, separators=(",", ":")).encode()
    identity, timestamp = str(event["id"]), int(time.time())
    headers = {
        "host": place.host_header,
        "user-agent": f"Luthier/{__version__}",
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        "webhook-id": identity,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(secret, identity, timestamp, body) for secret in secrets),
    }
    head = f"POST {place.target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return head.encode("ascii") + b"\r\n" + body


def _connect(target: Target, end: float, context: ssl.SSLContext | None) -> socket.socket:
    """A connection to one of the judged numbers; with https the certificate must be the host name's, not the number's."""
    last: OSError = OSError("no address")
    for number in target.numbers:
        try:
            connection = socket.create_connection((number, target.place.port), timeout=_left(end))
        except OSError as error:
            last = error
            continue
        if target.place.scheme == "http":
            return connection
        try:
            return (context or _trusting()).wrap_socket(connection, server_hostname=target.place.host)
        except BaseException:
            connection.close()
            raise
    raise last


@cache
def _trusting() -> ssl.SSLContext:
    """The machine's own certificate authorities (``SSL_CERT_FILE`` names others)."""
    return ssl.create_default_context()


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("the receiver took too long")
    return left


def _status(connection: socket.socket, end: float) -> int:
    """The answer's status; its text is read, so that the receiver can finish, and dropped."""
    answer = HTTPResponse(_Answer(connection, end), method="POST")  # type: ignore[arg-type]  # it only asks for makefile()
    answer.begin()
    status = answer.status
    # It answered: what it fails to say after that changes nothing.
    with contextlib.suppress(OSError, HTTPException):
        answer.read()
    return status


class _Answer(io.RawIOBase):
    """What the receiver sends, until a moment and up to ``LARGEST_ANSWER_BYTES``: a socket's own timeout begins anew at every byte."""

    def __init__(self, connection: socket.socket, end: float) -> None:
        self._connection = connection
        self._end = end
        self._room = LARGEST_ANSWER_BYTES

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What ``HTTPResponse`` reads from."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer with what came."""
        if not self._room:
            raise OSError("the answer is too long")
        self._connection.settimeout(_left(self._end))
        count = self._connection.recv_into(memoryview(buffer)[: self._room])
        self._room -= count
        return count


def _in_words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "the receiver took too long"
    # A receiver that is no web server could say anything: its bytes are not shown.
    if isinstance(error, HTTPException):
        return "the answer is not HTTP"
    return getattr(error, "strerror", "") or str(error) or type(error).__name__
