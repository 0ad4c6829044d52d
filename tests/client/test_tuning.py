"""Files as streams, and following a job to its end."""

from __future__ import annotations

import threading
import tracemalloc
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from luthier.client import Client, follow
from luthier.client.multipart import Multipart
from luthier.core import errors


def _parsed(body: Multipart) -> dict[str, tuple[str, bytes]]:
    """Name -> (filename, content), as the standard library reads a multipart body."""
    whole = b"".join(body)
    assert str(len(whole)) == body.headers["Content-Length"]
    message = BytesParser().parsebytes(f"Content-Type: {body.headers['Content-Type']}\r\n\r\n".encode() + whole)
    found = {}
    for part in message.get_payload():
        name = part.get_param("name", header="content-disposition")
        found[str(name)] = (part.get_filename() or "", part.get_payload(decode=True))
    return found


def test_a_body_holds_the_fields_and_the_file(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\r\n--x--\r\n" * 1000)
    body = Multipart({"purpose": "fine-tune"}, "file", path)
    assert _parsed(body) == {"purpose": ("", b"fine-tune"), "file": ("rows.jsonl", path.read_bytes())}
    assert _parsed(body) == _parsed(body), "it can be sent again"


@pytest.mark.parametrize("name", ['a"b.jsonl', "größe 🎻.jsonl", 'x"; name="purpose'])
def test_a_name_cannot_become_a_field(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_bytes(b"{}")
    body = b"".join(Multipart({"purpose": "fine-tune"}, "file", path))
    assert body.count(b'name="purpose"') == 1
    assert body.count(b"Content-Disposition") == 2


def test_a_file_that_grows_meanwhile_keeps_the_length_that_was_said(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    body = Multipart({}, "file", path)
    path.write_bytes(b"1234567890")
    assert _parsed(body)["file"][1] == b"12345"
    path.write_bytes(b"1")
    with pytest.raises(errors.InputError, match="became shorter"):
        b"".join(body)


@pytest.mark.parametrize("name", ["nothere.jsonl", "."])
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str):
    with pytest.raises(errors.InputError, match="cannot be read"):
        Multipart({}, "file", tmp_path / name)


class _Server:
    """Takes uploads (counting) and gives downloads of ``size`` bytes, ``given`` of them."""

    def __init__(self, size: int = 0, given: int = -1) -> None:
        self.got = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                left = int(self.headers["content-length"])
                while left and (block := self.rfile.read(min(left, 1 << 16))):
                    outer.got += len(block)
                    left -= len(block)
                self._answer(b'{"id": "file-1"}')

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-length", str(size))
                self.end_headers()
                for _ in range((size if given < 0 else given) // 1024):
                    self.wfile.write(b"x" * 1024)

            def _answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_given: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.client = Client(f"http://127.0.0.1:{self.server.server_address[1]}", tries=1)

    def __enter__(self) -> _Server:
        return self

    def __exit__(self, *_given: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_an_upload_is_never_whole_in_memory(tmp_path: Path):
    path = tmp_path / "big.jsonl"
    with path.open("wb") as handle:
        handle.truncate(64_000_000)
    with _Server() as server:
        tracemalloc.start()
        assert server.client.files.upload(path)["id"] == "file-1"
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert server.got > 64_000_000
    assert peak < 8_000_000


def test_a_download_is_whole_or_not_there(tmp_path: Path):
    with _Server(size=4096) as server:
        assert server.client.files.content("file-1", tmp_path / "new" / "rows.jsonl").read_bytes() == b"x" * 4096
    with _Server(size=4096, given=2048) as server, pytest.raises(errors.JobFailed, match="2048 of 4096"):
        server.client.files.content("file-1", tmp_path / "rows.jsonl")
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "rows.jsonl"]


class _Jobs:
    """A job that says more each time it is looked at, and ends."""

    def __init__(self, *rounds: tuple[str, int]) -> None:
        self.rounds = list(rounds)
        self.said = 0

    def get(self, job: str) -> dict:
        status, self.said = self.rounds.pop(0)
        return {"status": status}

    def events(self, job: str, limit: int = 20, after: str = "") -> dict:
        ids = [f"e{number}" for number in range(self.said, 0, -1)]
        ids = ids[ids.index(after) + 1 :] if after else ids
        page = ids[:2]
        return {"data": [{"id": one} for one in page], "has_more": len(ids) > 2, "last_id": page[-1] if page else None}


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled", "paused"])
def test_following_tells_each_event_once_in_order_until_the_end(end: str):
    jobs = _Jobs(("queued", 0), ("running", 3), ("running", 3), ("running", 8), (end, 9))
    waited: list[float] = []
    assert [one["id"] for one in follow(jobs, "j", every_s=0.5, sleep=waited.append)] == [f"e{number}" for number in range(1, 10)]
    assert waited == [0.5] * 4


def test_checking_waits_until_the_server_has_checked(monkeypatch):
    client = Client("http://127.0.0.1:1")
    said = iter(["uploaded", "uploaded", "processed"])
    monkeypatch.setattr(client.files, "get", lambda file: {"id": file, "status": next(said)})
    client.connection.sleep = lambda _seconds: None
    assert client.files.check("file-1")["status"] == "processed"
    monkeypatch.setattr(client.files, "get", lambda file: {"id": file, "status": "uploaded"})
    with pytest.raises(errors.JobFailed):
        client.files.check("file-1", most_s=-1)
