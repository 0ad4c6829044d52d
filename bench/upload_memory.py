"""Memory of the server while a file of 512 MB comes and goes: flat, whatever the size.

    python bench/upload_memory.py [--mb 512]

A real server (`luthier serve`) in a process of its own; the file is made of chats while it is sent, whole and in parts of 64 MB, and read
back. The resident memory of the server is sampled every 20 ms. Bar: it grows by less than 64 MB over what it was before, each time.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from real_data import finish
from serving import free_port, wait_until_alive

MOST_GROWTH_MB = 64
PART_MB = 64
LINE = (
    json.dumps(
        {"messages": [{"role": "user", "content": "where is my parcel? " * 20}, {"role": "assistant", "content": "parcel"}]}
    ).encode()
    + b"\n"
)
BLOCK = LINE * ((1 << 20) // len(LINE))
EDGE = "luthier-bench"


@contextlib.contextmanager
def served(home: Path) -> Iterator[tuple[int, psutil.Process]]:
    """The port and the process of a server without keys and without a worker."""
    port = free_port()
    command = [sys.executable, "-c", "from luthier.cli import main; main()", "serve", "--no-keys", "--no-worker", "--port", str(port)]
    process = subprocess.Popen(command, env={**os.environ, "LUTHIER_HOME": str(home)})
    try:
        wait_until_alive(process, port)
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def chats(size: int) -> Iterator[bytes]:
    """``size`` bytes of whole lines, less what the last one would be too long."""
    left = size
    while left >= len(BLOCK):
        yield BLOCK
        left -= len(BLOCK)
    yield LINE * (left // len(LINE))


def multipart(fields: dict[str, str], name: str, field: str, size: int) -> tuple[bytes, int, bytes]:
    """What stands before the file, the whole length, and what stands behind it."""
    head = "".join(f'--{EDGE}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields.items())
    head += f'--{EDGE}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\nContent-Type: application/jsonl\r\n\r\n'
    tail = f"\r\n--{EDGE}--\r\n".encode()
    return head.encode(), len(head.encode()) + size + len(tail), tail


def send(port: int, path: str, fields: dict[str, str], field: str, size: int) -> dict[str, Any]:
    """Streams a file of exactly ``size`` bytes."""
    head, length, tail = multipart(fields, "chats.jsonl", field, size)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.putrequest("POST", path)
    connection.putheader("Content-Type", f"multipart/form-data; boundary={EDGE}")
    connection.putheader("Content-Length", str(length))
    connection.endheaders(head)
    for block in chats(size):
        connection.send(block)
    connection.send(tail)
    answer = connection.getresponse()
    said: dict[str, Any] = json.loads(answer.read())
    assert answer.status == 200, said
    return said


def ask(port: int, path: str, body: dict[str, Any]) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    said: dict[str, Any] = json.loads(answer.read())
    assert answer.status == 200, said
    return said


def whole(port: int, size: int) -> str:
    return str(send(port, "/v1/files", {"purpose": "fine-tune"}, "file", size)["id"])


def in_parts(port: int, size: int) -> str:
    form = {"filename": "chats.jsonl", "purpose": "fine-tune", "bytes": size, "mime_type": "application/jsonl"}
    upload = ask(port, "/v1/uploads", form)["id"]
    part = PART_MB * 1_000_000 // len(LINE) * len(LINE)
    sizes = [min(part, size - start) for start in range(0, size, part)]
    parts = [send(port, f"/v1/uploads/{upload}/parts", {}, "data", one)["id"] for one in sizes]
    return str(ask(port, f"/v1/uploads/{upload}/complete", {"part_ids": parts})["file"]["id"])


def back(port: int, file: str, size: int) -> None:
    """Reads the file again; it must be what was sent."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("GET", f"/v1/files/{file}/content")
    answer, came = connection.getresponse(), hashlib.sha256()
    while block := answer.read(1 << 20):
        came.update(block)
    sent = hashlib.sha256()
    for block in chats(size):
        sent.update(block)
    assert came.digest() == sent.digest()


def measured(server: psutil.Process, work: Callable[[], Any]) -> tuple[float, float, float]:
    """The seconds of the work, and the server's memory before and at its most, in MB."""
    before = most = server.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.02):
            most = max(most, server.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.monotonic()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return time.monotonic() - started, before / 1e6, most / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=512)
    size = parser.parse_args().mb * 1_000_000 // len(LINE) * len(LINE)
    rows = []
    with tempfile.TemporaryDirectory() as folder, served(Path(folder) / "home") as (port, server):
        whole(port, 1_000_000 // len(LINE) * len(LINE))  # what is loaded once is no growth
        files: list[str] = []
        for what, work in (
            ("whole", lambda: files.append(whole(port, size))),
            ("in parts", lambda: files.append(in_parts(port, size))),
            ("back", lambda: back(port, files[-1], size)),
        ):
            seconds, before, most = measured(server, work)
            rows.append(
                {"way": what, "mb": size / 1e6, "seconds": seconds, "before_mb": before, "most_mb": most, "growth_mb": most - before}
            )
    bars = {f"{row['way']}: grows by less than {MOST_GROWTH_MB} MB": row["growth_mb"] < MOST_GROWTH_MB for row in rows}
    finish("upload memory", rows, bars)


if __name__ == "__main__":
    main()
