"""Asks a deployed endpoint over HTTP, from a server started for just that on a free port."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

from luthier.app.service import Service
from luthier.core.errors import JobFailed

START_S = 60.0


def ask(service: Service, endpoint: str, texts: list[str]) -> list[dict[str, Any]]:
    """The answers, in order; raises ``JobFailed`` when the server does not come up."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "LUTHIER_HOME": str(service.workspace.home)}
    command = [sys.executable, "-c", "from luthier.cli import main; main()", "serve", "--port", str(port)]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(server, address)
        body = json.dumps({"texts": texts}).encode()
        call = urllib.request.Request(
            f"{address}/api/v1/endpoints/{endpoint}/predict", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(call, timeout=30) as answer:
            found: list[dict[str, Any]] = json.load(answer)["answers"]
        return found
    finally:
        server.terminate()
        server.wait(timeout=20)


def _wait(server: subprocess.Popen[str], address: str) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    said = server.stderr.read()[-800:] if server.poll() is not None and server.stderr else "no answer in time"
    raise JobFailed(f"the server did not start: {said}", "luthier serve shows more")
