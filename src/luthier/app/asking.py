"""Asks a deployed endpoint over HTTP, from a server started for just that on a free port."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import IO, Any

from luthier.app.asked import sent
from luthier.app.keys import ERRAND_S, Keys
from luthier.app.service import Service
from luthier.core.errors import JobFailed, LuthierError, from_json

START_S = 60.0
ANSWER_S = 30.0
STOP_S = 20.0
USUAL = "http://127.0.0.1:8000"
"""Where ``luthier serve`` listens when nobody says otherwise."""

# The server is on this machine: a proxy that the environment names (http_proxy) cannot reach it.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def ask(service: Service, endpoint: str, texts: list[str]) -> list[dict[str, Any]]:
    """The answers, in order; raises ``JobFailed`` when the server does not come up, and the server's own error when it refuses."""
    with _key(service, ["infer"]) as key, started(service) as address:
        return _predict(f"{address}/api/v1/endpoints/{endpoint}/predict", texts, key)


@contextlib.contextmanager
def server_of(service: Service, endpoint: str) -> Iterator[tuple[str, str, bool]]:
    """A server that answers for an endpoint of this workspace, its key (good for ``ERRAND_S``), and whether it was running already:
    the one at ``luthier serve``'s own address, if it is this workspace's, else one for as long as the block takes.
    """
    info = service.endpoints.get(endpoint)
    with _key(service, ["infer", "read"]) as key:
        if _export_at(USUAL, endpoint, key) == info.export_id:
            yield USUAL, key, True
            return
        with started(service, "--no-worker") as address:
            yield address, key, False


def _export_at(address: str, endpoint: str, key: str) -> str:
    """What a server answers the endpoint with; "" when there is none, or it does not know the key (a database of its own)."""
    call = urllib.request.Request(f"{address}/api/v1/endpoints/{endpoint}", headers={"Authorization": f"Bearer {key}"})
    try:
        with _open(call, timeout=2) as answer:
            return str(json.load(answer)["export"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


@contextlib.contextmanager
def started(service: Service, *options: str) -> Iterator[str]:
    """The address of a server over the workspace, started as ``luthier serve`` is; raises ``JobFailed`` if it does not come up."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "LUTHIER_HOME": str(service.workspace.root)}
    command = [sys.executable, "-c", "from luthier.cli import main; main()", "serve", "--port", str(port), "--no-first-key", *options]
    # A file and not a pipe: a server that says much would wait for a reader.
    with tempfile.TemporaryFile() as said:
        server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=said)
        try:
            _wait(server, f"http://127.0.0.1:{port}", said)
            yield f"http://127.0.0.1:{port}"
        finally:
            _stop(server)


@contextlib.contextmanager
def _key(service: Service, scopes: list[str]) -> Iterator[str]:
    """A key that may do little, for as long as this takes: another program on this machine may find the port, too."""
    keys = Keys(service.workspace.engine())
    made, secret = keys.create(service.workspace.name, "luthier run", scopes, expires_in_s=ERRAND_S)
    try:
        yield secret
    finally:
        keys.revoke(made.workspace, made.id)


def _wait(server: subprocess.Popen[bytes], address: str, said: IO[bytes]) -> None:
    """Until it listens, which it does once it has opened what is deployed (``/readyz`` may never say so: of any other endpoint)."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.poll() is None:
        try:
            with _open(f"{address}/healthz", timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    said.seek(0)
    last = said.read()[-800:].decode("utf-8", "replace").strip()
    why = f"it ended with code {server.returncode}" if server.returncode is not None else f"no answer in {START_S:.0f} s"
    raise JobFailed(f"the server did not start: {why}" + (f": {last}" if last else ""), "luthier serve shows more")


def _predict(address: str, texts: list[str], key: str) -> list[dict[str, Any]]:
    body = json.dumps({"texts": [sent(text) for text in texts]}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    call = urllib.request.Request(address, data=body, headers=headers)
    try:
        with _open(call, timeout=ANSWER_S) as answer:
            found: list[dict[str, Any]] = json.load(answer)["answers"]
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(error.code, error.read()) from None
    except (OSError, ValueError, KeyError) as error:
        raise JobFailed(f"the server gave no answer: {error}", "luthier serve shows more") from error
    return found


def _refusal(status: int, body: bytes) -> LuthierError:
    """The error that the server said, of its own kind."""
    try:
        said = dict(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        said = {"message": f"the server answered with status {status}", "hint": "luthier serve shows more"}
    return from_json(said)


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
