"""Asking over HTTP: past any proxy, whatever other endpoints do, and with the server's own words when it refuses."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from luthier.api import create_app
from luthier.app import asking
from luthier.app.service import Service
from luthier.core.errors import InputError, JobFailed, UnknownName


@pytest.fixture
def deployed(service: Service, export_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """An endpoint that answers and one that cannot be opened, on a machine behind a proxy."""
    shutil.copytree(export_folder, service.workspace.artifacts.root / "export-1")
    for name, export in (("support", "export-1"), ("broken", "export-2")):
        service.endpoints.put(name, task="text-classification", export=export, evaluation="evaluation-1", model="model-1")
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    return service


def test_a_deployed_endpoint_answers_in_order(deployed: Service) -> None:
    first, second = asking.ask(deployed, "support", ["where is my parcel", "ann@example.com wants a refund"])
    assert first["label"]
    assert second["id"] == asking.ask(deployed, "support", ["<EMAIL_1> wants a refund"])[0]["id"] != first["id"]


def test_what_the_server_refuses_is_its_own_error(deployed: Service) -> None:
    with pytest.raises(UnknownName, match="unknown endpoint 'suport'") as caught:
        asking.ask(deployed, "suport", ["hello"])
    assert caught.value.hint == "did you mean 'support'?"


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b'{"error": {"message": "texts[0]: is empty", "code": "invalid_input", "hint": "fill it in"}}', InputError, "texts[0]: is empty"),
        (b'{"error": {"message": "a defect", "code": "internal", "hint": "see the log"}}', JobFailed, "a defect"),
        (b"<html>Bad Gateway</html>", JobFailed, "the server answered with status 502"),
        (b'{"error": "no"}', JobFailed, "the server answered with status 502"),
    ],
)
def test_a_refusal_is_an_error_of_ours(body: bytes, kind: type[Exception], message: str) -> None:
    error = asking._refusal(502, body)
    assert type(error) is kind
    assert error.message == message
    assert error.hint


def test_a_server_that_ends_at_once_is_said_with_its_last_words(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    start = subprocess.Popen

    def failing(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        return start([sys.executable, "-c", "import sys; sys.exit('no such port')"], **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(asking.subprocess, "Popen", failing)
    with pytest.raises(JobFailed, match="did not start: it ended with code 1: no such port"):
        asking.ask(service, "support", ["hello"])


def test_a_server_of_this_workspace_that_runs_is_asked_and_another_ones_is_not(
    deployed: Service, filled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, ...]] = []

    @contextlib.contextmanager
    def starting(_service: Service, *options: str) -> Iterator[str]:
        started.append(options)
        yield "http://127.0.0.1:1"

    monkeypatch.setattr(asking, "started", starting)
    with filled.listening(create_app(deployed, workers=1)) as address:
        monkeypatch.setattr(asking, "USUAL", address)
        with asking.server_of(deployed, "support") as (found, key, running):
            assert (found, running) == (address, True)
            assert key.startswith("lt-")
    with filled.listening(create_app(filled.fill(tmp_path / "other"), workers=1)) as address:
        monkeypatch.setattr(asking, "USUAL", address)  # it serves an endpoint of that name, too
        with asking.server_of(deployed, "support") as (found, _key, running):
            assert (found, running) == ("http://127.0.0.1:1", False)
    assert started == [("--no-worker",)]
