"""One server's address and a key: sends requests, waits and tries again where that can help, raises the server's own errors."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import os
import random
import re
import socket
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlencode, urlsplit

from luthier.client.failures import failure, wait_of
from luthier.client.multipart import BLOCK, Multipart
from luthier.core.errors import InputError, JobFailed, LuthierError, NotPossible

AGAIN = (429, 503)
"""The server did nothing and says so."""

BROKEN = (408, 502, 504)
"""Perhaps it did: only what may be done twice is sent again."""

MOST_WAIT_S = 60
OWN, OPENAI = "/api/v1", "/v1"
_HINT = "luthier serve starts one; check --url (LUTHIER_URL)"


class Connection:
    """``url`` is the server's own address (an OpenAI base address, ``.../v1``, is understood too)."""

    def __init__(self, url: str, key: str = "", *, timeout_s: float = 60.0, tries: int = 4) -> None:
        self.url = _address(url)
        if not all(" " < letter <= "~" for letter in key):
            raise InputError("the key holds a character that no key has", "give the key as it was shown (LUTHIER_API_KEY)")
        self.timeout_s = timeout_s
        self.tries = max(tries, 1)
        self.sleep: Callable[[float], None] = time.sleep
        self._headers = {"Accept": "application/json", "User-Agent": "luthier"} | ({"Authorization": f"Bearer {key}"} if key else {})
        # A proxy that the environment names cannot reach this very machine.
        proxies = [urllib.request.ProxyHandler({})] if loopback(urlsplit(self.url).hostname or "") else []
        self._open = urllib.request.build_opener(_NoRedirect(), *proxies).open

    def get(self, path: str, **query: Any) -> Any:
        """The JSON at an address. ``query``: what is empty or ``None`` is left out."""
        return self._json("GET", path + _query(query))

    def post(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON that a POST answers with. One that carries an ``Idempotency-Key`` may be sent twice."""
        return self._json("POST", path, body, headers)

    def put(self, path: str, body: Any) -> Any:
        """The JSON that a PUT answers with."""
        return self._json("PUT", path, body)

    def delete(self, path: str) -> Any:
        """The JSON that a DELETE answers with ({} for none)."""
        return self._json("DELETE", path)

    def text(self, path: str) -> str:
        """A page as text."""
        with self.opened("GET", path) as answer:
            return _whole(answer).decode("utf-8", "replace")

    def save(self, path: str, target: Path) -> Path:
        """Writes what an address holds into a file, as a stream; the file is there whole or not at all."""
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, aside = tempfile.mkstemp(prefix=".aside-", dir=target.parent)
        try:
            with self.opened("GET", path) as answer, os.fdopen(descriptor, "wb") as out:
                _copy(answer, out)
                out.flush()
                os.fsync(out.fileno())
            os.chmod(aside, 0o666 & ~_umask())
            os.replace(aside, target)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
        return target

    def upload(self, path: str, body: Multipart, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON that an upload answers with."""
        try:
            return self._json("POST", path, body, headers)
        except NotPossible:
            # A server that refuses hangs up in the middle of the body: what it says can only be heard by asking again.
            self.get(f"{OPENAI}/files", limit=1)
            raise

    def _json(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        with self.opened(method, path, body, headers) as answer:
            said = _whole(answer)
        try:
            return json.loads(said) if said else {}
        except (ValueError, RecursionError) as error:
            raise JobFailed(f"{self.url}{path}: the answer is not JSON: {error}", _HINT) from None

    @contextlib.contextmanager
    def opened(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Iterator[Any]:
        """The open response, tried again where that can help; raises the server's error, ``NotPossible`` when there is no server."""
        sent = {**self._headers, **(headers or {})}
        twice = method != "POST" or "Idempotency-Key" in sent
        for left in range(self.tries - 1, -1, -1):
            result = self._try(method, path, body, sent)
            if not isinstance(result, _Failed):
                break
            if not (left and result.again(twice)):
                raise result.error
            self.sleep(result.wait(self.tries - 1 - left))
        try:
            with result as answer:
                yield answer
        except (http.client.HTTPException, OSError) as error:
            if isinstance(error, LuthierError):
                raise
            raise JobFailed(f"{self.url}: the answer broke off: {error}", "try again") from error

    def _try(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        """The open response, or a ``_Failed``."""
        data, more = _encoded(body)
        call = urllib.request.Request(self.url + path, data=data, headers=headers | more, method=method)
        try:
            return self._open(call, timeout=self.timeout_s)
        except urllib.error.HTTPError as error:
            said, heads = b"", {name.lower(): value for name, value in error.headers.items()}
            with error, contextlib.suppress(OSError, http.client.HTTPException):
                said = error.read()
            return _Failed(failure(error.code, heads, said), error.code, heads)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, LuthierError):
                raise
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            unsent = isinstance(reason, ConnectionRefusedError | socket.gaierror)
            return _Failed(NotPossible(f"{self.url}: no server answers: {reason}", _HINT), 0 if unsent else 502, {})


class _Failed:
    """A try that led to nothing. ``status`` is 0 where nothing was sent."""

    def __init__(self, error: LuthierError, status: int, headers: Mapping[str, str]) -> None:
        self.error, self.status, self.headers = error, status, headers

    def again(self, twice: bool) -> bool:
        """Whether another try can help."""
        if self.headers.get("x-should-retry") == "false" or wait_of(self.headers) > MOST_WAIT_S:
            return False
        return self.status in (0, *AGAIN) or (twice and self.status in BROKEN)

    def wait(self, tried: int) -> float:
        """Seconds until the next try: what the server asked for, else twice as long each time; by chance, so that not all come at once."""
        return float(wait_of(self.headers) or min(0.5 * 2**tried, 8.0)) + random.uniform(0, 0.25)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another place; it comes back as the error that it is."""

    def redirect_request(self, *_given: Any) -> None:
        """None is followed."""


def part(text: str) -> str:
    """A name as a part of an address."""
    if not text:
        raise InputError("the name is empty", "give the id or the name")
    return quote(text, safe="", errors="replace")


def _query(given: Mapping[str, Any]) -> str:
    said = {key: str(value).lower() if isinstance(value, bool) else value for key, value in given.items() if value not in (None, "")}
    return f"?{urlencode(said, errors='replace')}" if said else ""


def _encoded(body: Any) -> tuple[Any, dict[str, str]]:
    if body is None:
        return None, {}
    if isinstance(body, Multipart):
        return body, body.headers
    return json.dumps(body).encode(), {"Content-Type": "application/json"}


def _whole(answer: Any) -> bytes:
    said: bytes = answer.read()
    return said


def _copy(answer: Any, out: IO[bytes]) -> None:
    expected, got = answer.headers.get("content-length"), 0
    while block := answer.read(BLOCK):
        out.write(block)
        got += len(block)
    if expected is not None and got != int(expected):
        raise JobFailed(f"the answer broke off after {got} of {expected} bytes", "try again")


def _umask() -> int:
    before = os.umask(0)
    os.umask(before)
    return before


def _address(url: str) -> str:
    """The address without what is appended to it; raises ``InputError`` when it is none."""
    hint = "give it like http://127.0.0.1:8000"
    try:
        split = urlsplit(url.strip())
        port = split.port
    except ValueError as error:
        raise InputError(f"{url!r} is not an address: {error}", hint) from None
    if split.scheme not in ("http", "https") or not split.hostname or split.query or split.fragment or not url.isprintable():
        raise InputError(f"{url!r} is not the address of a server", hint)
    if split.username is not None:
        raise InputError("the address holds a name or a password", "give the key by LUTHIER_API_KEY")
    host = f"[{split.hostname}]" if ":" in split.hostname else split.hostname
    path = re.sub(r"(/openai)?/v1$|/openai$|/api/v1$", "", split.path.rstrip("/"))
    return f"{split.scheme}://{host}" + (f":{port}" if port else "") + quote(path, safe="/%")


def loopback(host: str) -> bool:
    """Whether a host is this very machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
