"""A receiver of webhooks: a small web server in a thread that keeps what it is sent and answers as it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """``answers`` are the statuses of the next requests (then 200); ``more`` is sent with them, ``wait_s`` before."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.answers: list[int] = []
        self.more: dict[str, str] = {}
        self.wait_s = 0.0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.requests.append(Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                time.sleep(receiver.wait_s)
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                for name, value in receiver.more.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"thanks")

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        return Handler

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of a test's own, on this machine."""
    one = Receiver()
    yield one
    one.close()
