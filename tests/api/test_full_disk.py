"""A disk that is really full: reads go on, uploads are refused whole, jobs wait, health says why, and with room again all goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from chats import lines

DISK = 'mount -t tmpfs -o size=24m tmpfs "$1" || exit 77; shift; exec "$@"'
"""A disk that only the server, and who enters its room, sees."""
LUTHIER = [sys.executable, "-c", "from luthier.cli import main; main()"]
SMALL = {
    "train": {"epochs": 1},
    "evaluate": {"baselines": ["majority"], "bootstrap": 20},
    "export": {"latency_seconds": 0.02, "max_label_change": 1, "max_metric_loss": 1, "runtimes": ["onnx"]},
}
READS = (
    "/v1/files", "/v1/files/{file}", "/v1/files/{file}/content", "/api/v1/files/{file}/loss-mask", "/v1/fine_tuning/jobs",
    "/v1/fine_tuning/jobs/{job}", "/v1/fine_tuning/jobs/{job}/events", "/v1/models", "/v1/webhook_endpoints", "/api/v1/keys",
    "/api/v1/audit", "/api/v1/workspaces", "/api/v1/deployments", "/api/v1/endpoints", "/api/v1/datasets", "/api/v1/runs", "/metrics",
)  # fmt: skip


class Full:
    """A server with its home on a small disk. ``fill`` leaves no byte of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        own = {"LUTHIER_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("LUTHIER_")} | own
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = str(probe.getsockname()[1])
        command = ["unshare", "-m", "sh", "-c", DISK, "sh", str(home), *LUTHIER, "serve", "--no-worker", "--port", self.port]
        self.log = (home.parent / "log").open("wb")
        self.server = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=self.log)
        self.worker: subprocess.Popen[bytes] | None = None
        assert self.server.stdout is not None
        key = next((line.strip() for line in self.server.stdout if line.strip().startswith(b"lt-")), b"").decode()
        if not key and self.server.wait(10) in (1, 77):
            pytest.skip("may not mount a disk")
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers={"api-key": key}, timeout=60, trust_env=False)
        self.disk = Path(f"/proc/{self.server.pid}/root{home}")
        wait(lambda: self.said("/healthz") == 200)

    def said(self, path: str) -> int:
        """The status of an address; 0 when nobody answers."""
        try:
            return self.client.get(path).status_code
        except httpx.TransportError:
            return 0

    def ready(self) -> dict[str, Any]:
        """What everybody is told."""
        return dict(httpx.get(f"{self.client.base_url}/readyz", trust_env=False).json())

    def fill(self) -> None:
        """Takes every byte that is left."""
        with (self.disk / "fill").open("ab", buffering=0) as handle:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        handle.write(b"0" * size)

    def work(self) -> None:
        """Starts a worker that sees the same disk."""
        command = ["nsenter", "-m", "-t", str(self.server.pid), "--", *LUTHIER, "worker"]
        self.worker = subprocess.Popen(command, env=self.environment, stdout=self.log, stderr=self.log)

    def end(self) -> None:
        """Ends both."""
        for process in (self.worker, self.server):
            if process is not None and process.poll() is None:
                process.terminate()
                process.wait(60)


def wait(true: Any, seconds: float = 150.0) -> None:
    """Until it is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Full]:
    if not (shutil.which("unshare") and shutil.which("nsenter")):
        pytest.skip("needs unshare and nsenter")
    (tmp_path / "home").mkdir()
    house = Full(tmp_path / "home")
    yield house
    house.end()


def _upload(full: Full) -> httpx.Response:
    return full.client.post("/v1/files", data={"purpose": "fine-tune"}, files={"file": ("chats.jsonl", lines(160))})


def _create(full: Full, file: str, seed: int) -> httpx.Response:
    body = {"model": "all-minilm-l6-v2", "training_file": file, "executor": "dummy", "seed": seed, **SMALL}
    return full.client.post("/v1/fine_tuning/jobs", json=body)


def _succeeds(full: Full, job: str) -> None:
    wait(lambda: full.client.get(f"/v1/fine_tuning/jobs/{job}").json()["status"] in ("succeeded", "failed"))
    ended = full.client.get(f"/v1/fine_tuning/jobs/{job}").json()
    assert ended["status"] == "succeeded", ended["error"]


def test_a_full_disk(full: Full) -> None:
    file = _upload(full).json()["id"]
    content = full.client.get(f"/v1/files/{file}/content").content
    job = _create(full, file, 1).json()["id"]
    said = full.ready()
    assert (said["ready"], said["checks"]["disk"]["ok"]) == (True, True), said
    assert "jobs wait" in said["checks"]["worker"]["why"]
    fresh = full.client.post("/api/v1/keys", json={"name": "new", "scopes": ["admin"]}).json()["key"]
    full.fill()
    full.client.headers["api-key"] = fresh  # its first use would be written down
    wait(lambda: not full.ready()["ready"], 5)
    assert "while the disk is full" in full.ready()["checks"]["worker"]["why"]
    disk = full.ready()["checks"]["disk"]
    assert disk["free_bytes"] == 0
    assert "uploads are refused and jobs wait" in disk["why"]
    assert full.ready()["checks"]["database"]["ok"]

    paths = [path.format(file=file, job=job) for path in READS]
    with ThreadPoolExecutor(16) as threads:  # more at once than there are connections to the database
        assert {path: status for path, status in zip(paths * 3, threads.map(full.said, paths * 3), strict=True) if status != 200} == {}
    assert full.client.get(f"/v1/files/{file}/content").content == content
    for refused in (_upload(full), _create(full, file, 2)):
        assert (refused.status_code, refused.json()["error"]["code"]) == (507, "no_space")
        assert refused.headers["x-should-retry"] == "false"

    full.work()
    wait(lambda: b"disk" in Path(full.log.name).read_bytes())
    time.sleep(2)
    assert full.worker is not None
    assert full.worker.poll() is None
    assert full.client.get(f"/v1/fine_tuning/jobs/{job}").json()["status"] == "queued"
    assert len(full.client.get("/v1/files").json()["data"]) == 1

    (full.disk / "fill").unlink()
    wait(lambda: full.ready()["ready"], 10)
    _succeeds(full, job)
    assert [one["id"] for one in full.client.get("/v1/fine_tuning/jobs").json()["data"]] == [job]
    assert _upload(full).status_code == 200

    job = _create(full, file, 2).json()["id"]
    wait(lambda: full.client.get(f"/v1/fine_tuning/jobs/{job}").json()["status"] != "queued")
    full.fill()  # while it runs
    wait(lambda: not full.ready()["ready"], 5)
    time.sleep(3)
    assert full.client.get(f"/v1/fine_tuning/jobs/{job}").json()["status"] in ("running", "queued", "succeeded")
    (full.disk / "fill").unlink()
    _succeeds(full, job)
    assert all(key["last_used_at"] for key in full.client.get("/api/v1/keys").json()["data"])
