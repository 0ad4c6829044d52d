"""Bad lines and busy servers: what is tried again, how long it waits, what never is, and what comes of a torn answer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from luthier.api.errors import response
from luthier.client import Client
from luthier.client.connection import Connection
from luthier.client.failures import failure
from luthier.core import errors


class Answer(NamedTuple):
    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012
    body: bytes = b"{}"
    length: int = -1
    """What Content-Length says (-1: the truth)."""


class Stub:
    """A server that answers as it is told, in order; the last answer stays. ``seen`` holds what was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [Answer()]
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                stub.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                one = stub.answers.pop(0) if len(stub.answers) > 1 else stub.answers[0]
                self.send_response(one.status)
                for name, value in one.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(one.body) if one.length < 0 else one.length))
                self.end_headers()
                self.wfile.write(one.body)

            do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_given: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def stub() -> Iterator[Stub]:
    made = Stub()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def client(stub: Stub) -> Client:
    """Its ``waited`` holds the seconds that it would have slept."""
    made = Client(stub.url, "lk-key")
    made.waited = []  # type: ignore[attr-defined]
    made.connection.sleep = made.waited.append  # type: ignore[attr-defined]
    return made


def _refused(status: int, code: str, **headers: str) -> Answer:
    body = {"error": {"message": "no", "code": code, "hint": "do", "param": None}}
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(body).encode())


def test_the_key_is_sent(client, stub):
    client.catalog.plugins()
    assert stub.seen[0][2]["authorization"] == "Bearer lk-key"


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(client, stub, status):
    stub.answers = [_refused(status, "overloaded", retry_after="7"), _refused(status, "overloaded"), Answer()]
    client.jobs.create({})
    assert len(stub.seen) == 3, "also a POST: nothing was done"
    assert 7 <= client.waited[0] < 7.3
    assert 1 <= client.waited[1] < 1.3
    assert len({seen[2]["idempotency-key"] for seen in stub.seen}) == 1


def test_it_gives_up_after_some_tries_with_the_servers_own_error(client, stub):
    stub.answers = [_refused(429, "rate_limit_exceeded", retry_after="3")]
    with pytest.raises(errors.RateLimited) as found:
        client.catalog.plugins()
    assert len(stub.seen) == 4
    assert found.value.retry_after_s == 3


@pytest.mark.parametrize(
    "answer",
    [
        _refused(429, "insufficient_quota", x_should_retry="false"),
        _refused(503, "not_possible", x_should_retry="false"),
        _refused(429, "rate_limit_exceeded", retry_after="3600"),
        _refused(500, "internal"),
        _refused(409, "conflict"),
        _refused(404, "not_found"),
    ],
)
def test_what_waiting_does_not_help_is_asked_once(client, stub, answer):
    stub.answers = [answer]
    with pytest.raises(errors.LuthierError):
        client.catalog.plugins()
    assert len(stub.seen) == 1
    assert client.waited == []


def test_only_what_may_be_done_twice_is_repeated_on_a_broken_line(client, stub):
    stub.answers = [_refused(502, "bad_gateway"), Answer()]
    assert client.catalog.plugins() == {}
    stub.answers = [_refused(502, "bad_gateway"), Answer()]
    with pytest.raises(errors.JobFailed):
        client.predict("support", "a")
    stub.answers = [_refused(502, "bad_gateway"), Answer()]
    assert client.jobs.create({}) == {}, "it carries a key against doubles"


def test_no_server_is_a_sentence(stub):
    stub.server.server_close()
    client = Client(stub.url)
    client.connection.sleep = lambda _seconds: None
    with pytest.raises(errors.NotPossible, match="no server answers"):
        client.catalog.plugins()


def test_a_redirect_is_not_followed(client, stub):
    other = Stub()
    stub.answers = [Answer(302, {"location": other.url + "/stolen"})]
    with pytest.raises(errors.LuthierError, match="302"):
        client.catalog.plugins()
    assert other.seen == []
    other.server.shutdown()
    other.server.server_close()


@pytest.mark.parametrize(
    "body", [b"<html>gateway</html>", b"", b"[]", b'{"error": 3}', b'{"error": {"code": null}}', b"\xff", b"[" * 50_000]
)
def test_a_foreign_answer_is_an_error_too(client, stub, body):
    stub.answers = [Answer(404, {}, body)]
    with pytest.raises(errors.UnknownName):
        client.catalog.plugins()
    stub.answers = [Answer(418, {}, body)]
    with pytest.raises(errors.JobFailed):
        client.catalog.plugins()


def test_an_answer_that_is_no_json_is_an_error(client, stub):
    stub.answers = [Answer(200, {}, b"<html>")]
    with pytest.raises(errors.JobFailed, match="not JSON"):
        client.catalog.plugins()


def test_a_torn_answer_is_an_error(client, stub):
    stub.answers = [Answer(200, {}, b'{"a": 1', length=100)]
    with pytest.raises(errors.JobFailed, match="broke off"):
        client.catalog.plugins()


def test_names_and_questions_are_written_so_that_they_arrive(client, stub):
    client.runs.get("a/b ?#%ä\ud83d")
    assert stub.seen[-1][1] == "/api/v1/runs/a%2Fb%20%3F%23%25%C3%A4%3F"
    client.jobs.list(metadata={"a b": "ü&="})
    assert stub.seen[-1][1] == "/v1/fine_tuning/jobs?limit=20&metadata%5Ba+b%5D=%C3%BC%26%3D"
    with pytest.raises(errors.InputError):
        client.runs.get("")


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000", "ftp://a", "http://", "http://a:x", "http://a:99999", "http://u:p@a", "http://a?b=c", "http://a\n"]
)
def test_what_is_no_address_is_said(url):
    with pytest.raises(errors.InputError):
        Client(url)


@pytest.mark.parametrize("key", ["a\nb", "a b", "schlüssel"])
def test_what_is_no_key_is_said(key):
    with pytest.raises(errors.InputError):
        Client("http://a", key)


@pytest.mark.parametrize("url", ["https://host/prefix/", "http://[::1]:8000", "http://host:1/openai/v1"])
def test_an_address_stays_what_it_is(url):
    assert Connection(url).url == {"https://host/prefix/": "https://host/prefix", "http://[::1]:8000": "http://[::1]:8000"}.get(
        url, "http://host:1"
    )


def _of_every_kind() -> list[errors.LuthierError]:
    given = {errors.RowError: ("text", "is empty", "write one"), errors.SpecError: ("train.epochs", "is too small", "more")}
    given |= {errors.MissingExtra: ("torch", "train"), errors.RateLimited: ("slow down", "wait", 5)}
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.LuthierError)]
    return [kind(*given.get(kind, ("a message", "a hint"))) for kind in kinds if kind is not errors.LuthierError]


@pytest.mark.parametrize("error", _of_every_kind(), ids=lambda error: type(error).__name__)
def test_every_error_crosses_the_line_as_itself(error):
    said = response(error)
    found = failure(said.status_code, said.headers, said.body)
    assert type(found) is type(error)
    assert (found.message, found.hint) == (error.message, error.hint)
    if isinstance(error, errors.SpecError):
        assert found.path == error.path
    if isinstance(error, errors.RateLimited):
        assert found.retry_after_s == 5


def test_time_runs_out(stub):
    stub.answers = [Answer()]
    slow = Client(stub.url, timeout_s=0.05, tries=1)
    stub.server.RequestHandlerClass.do_GET = lambda self: time.sleep(0.5)  # type: ignore[attr-defined]
    with pytest.raises(errors.NotPossible):
        slow.catalog.plugins()
