"""A steady load while canaries are promoted and rolled back and processes are killed: no wrong answer, no request lost for good.

    python bench/rollout.py [--requests 100000] [--canaries 20] [--kills 10] [--per-s 200] [--seed 1] | --quick

Each version answers everything with a label of its own (the runtime computes nothing), so an answer shows which version gave it. Good
canaries have rules that they keep; bad ones break the rule of drift, and the worker must send them back by itself. A kill (SIGKILL) takes
the server, with its worker, or the worker alone. Requests that were in the killed server, or came before its successor listened, are sent
again; every other request must be answered at the first try. Exits 1 otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).parents[1]
LATE_S = 5.0
"""How long after its end a version that was sent back may still answer: servers look once a second, and it answers what it had queued."""

TRIES_S = 120.0


@dataclass
class Server:
    """``luthier serve`` and its worker, started again when killed."""

    home: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    downs: list[tuple[float, float]] = field(default_factory=list)
    """From the kill until it listened again."""

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it."""
        command = [
            sys.executable,
            "-c",
            "from luthier.cli import main; main()",
            "serve",
            "--no-keys",
            "--port",
            str(self.port),
            "--workers",
            "1",
        ]
        environment = {**os.environ, "LUTHIER_HOME": str(self.home)}
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def up(self) -> None:
        """Waits until it listens."""
        async with httpx.AsyncClient(trust_env=False) as client:
            while True:
                try:
                    if (await client.get(f"{self.address}/healthz", timeout=2)).status_code == 200:
                        return
                except httpx.HTTPError:
                    await asyncio.sleep(0.05)

    async def kill(self, chance: random.Random) -> str:
        """Kills the server or its worker; which."""
        assert self.process is not None
        workers = [one for one in psutil.Process(self.process.pid).children() if "luthier.app.beside" in one.cmdline()]
        if workers and chance.random() < 0.5:
            os.kill(workers[0].pid, signal.SIGKILL)
            return "worker"
        at = time.monotonic()
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.start()
        await self.up()
        self.downs.append((at, time.monotonic()))
        return "server"

    def down(self, start: float, end: float) -> bool:
        """Whether it was away at any time between."""
        return any(start <= up and end >= at for at, up in self.downs)


@dataclass
class Load:
    """What was asked, and what came of it."""

    server: Server
    per_s: float
    says: dict[str, str]
    ended: dict[str, float] = field(default_factory=dict)
    """Version -> when it was sent back."""
    sent: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    retried: list[tuple[float, float, str]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    stop: bool = False

    async def run(self) -> None:
        """Asks at a steady rate until told to stop, then waits for what is open."""
        limits = httpx.Limits(max_connections=64, keepalive_expiry=2)  # the server closes what was idle for 5 s
        async with httpx.AsyncClient(trust_env=False, limits=limits, timeout=20) as client:
            waiting: set[asyncio.Task[None]] = set()
            begin = time.monotonic()
            while not self.stop:
                if len(waiting) < 200 and self.sent < (time.monotonic() - begin) * self.per_s:
                    task = asyncio.create_task(self.ask(client, self.sent))
                    self.sent += 1
                    waiting.add(task)
                    task.add_done_callback(waiting.discard)
                    await asyncio.sleep(0)
                else:
                    await asyncio.sleep(0.002)
            await asyncio.gather(*waiting)

    async def ask(self, client: httpx.AsyncClient, number: int) -> None:
        """One request, sent again while it fails."""
        body = {"text": f"message {number}", "user": f"user-{number % 997}"}
        first = time.monotonic()
        while time.monotonic() - first < TRIES_S:
            start = time.monotonic()
            try:
                answer = await client.post(f"{self.server.address}/api/v1/endpoints/support/predict", json=body)
                if answer.status_code == 200:
                    self.judge(answer, number, start)
                    return
                said = f"status {answer.status_code}: {answer.text[:200]}"
            except httpx.HTTPError as error:
                said = type(error).__name__
            self.retried.append((start, time.monotonic(), said))
            await asyncio.sleep(0.1)
        self.lost.append(f"request {number}")

    def judge(self, answer: httpx.Response, number: int, start: float) -> None:
        """Whether the answer is that of a version which may answer."""
        version, label = answer.headers.get("x-luthier-deployment", ""), answer.json()["label"]
        self.answered[version] += 1
        self.seconds.append(time.monotonic() - start)
        if self.says.get(version) != label:
            self.wrong.append(f"request {number}: {version} said {label}, not {self.says.get(version)}")
        if version in self.ended and start > self.ended[version] + LATE_S:
            self.wrong.append(f"request {number}: {version} answered {start - self.ended[version]:.1f} s after it was sent back")


async def rollouts(server: Server, load: Load, exports: list[str], chance: random.Random, figures: Counter[str]) -> None:
    """One canary after the other; those at odd places are bad."""
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:

        async def call(method: str, path: str, **options: Any) -> Any:
            while True:
                try:
                    answer = await client.request(method, f"{server.address}/api/v1/rollouts{path}", **options)
                    if answer.status_code < 300 or answer.status_code == 409:  # 409: it began before the server was killed
                        return answer.json()
                    if answer.status_code < 500:
                        raise SystemExit(answer.text)
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.2)

        for number, export in enumerate(exports):
            bad = number % 2 == 1
            wish = {
                "canary": [20, 50, 100],
                "step_s": 1.0,
                "least_answers": 60,
                "max_p95_ratio": 1000.0,
                "max_label_change": 0.2 if bad else 1.0,
            }
            load.says[f"v{number + 2}"] = f"says-{number + 1}"
            load.ended.pop(f"v{number + 2}", None)
            await call("POST", "", json={"endpoint": "support", "model": export} | wish)
            while (found := (await call("GET", "/support"))["rollout"])["state"] == "running" or found["candidate"] != f"v{number + 2}":
                await asyncio.sleep(0.2)
            if found["state"] != ("rolled_back" if bad else "promoted"):
                load.wrong.append(f"canary {number} is {found['state']}: {found['decision']['reason']}")
            figures[found["state"]] += 1
            print(f"{found['candidate']} {found['state']}: {found['decision'].get('reason', '')[:100]}", flush=True)
            if bad:
                load.ended[found["candidate"]] = time.monotonic()


async def kills(server: Server, count: int, pause_s: float, chance: random.Random, figures: Counter[str]) -> None:
    for _ in range(count):
        await asyncio.sleep(pause_s * chance.uniform(0.5, 1.5))
        figures[f"killed {await server.kill(chance)}"] += 1


async def measure(server: Server, options: argparse.Namespace, exports: list[str]) -> int:
    chance, figures = random.Random(options.seed), Counter[str]()
    load = Load(server, options.per_s, {"v1": "says-0"})
    server.start()
    await server.up()
    begin = time.monotonic()
    running = asyncio.create_task(load.run())
    await asyncio.gather(
        rollouts(server, load, exports, chance, figures),
        kills(server, options.kills, options.pause_s, chance, figures),
    )
    while load.sent < options.requests:
        await asyncio.sleep(0.1)
    load.stop = True
    await running
    took = time.monotonic() - begin
    # What failed while no server was down is one that a switch dropped.
    dropped = [
        f"{said} at {start - begin:.1f} s, killed at {[round(at - begin, 1) for at, _ in server.downs]}"
        for start, end, said in load.retried
        if not server.down(start, end)
    ]
    ordered = sorted(load.seconds)
    print(
        f"{load.sent} requests in {took:.0f} s ({load.sent / took:.0f}/s), "
        f"{sum(load.answered.values())} answered by {len(load.answered)} versions"
    )
    print(
        f"p50 {ordered[len(ordered) // 2] * 1e3:.1f} ms, p99 {ordered[len(ordered) * 99 // 100] * 1e3:.1f} ms; "
        + ", ".join(f"{n} {name}" for name, n in sorted(figures.items()))
    )
    print(f"tries that met a killed server and were sent again: {len(load.retried) - len(dropped)}")
    print(f"wrong answers: {len(load.wrong)}; requests lost: {len(load.lost)}; dropped while a server was up: {len(dropped)}")
    for line in [*load.wrong[:5], *load.lost[:5], *dropped[:5]]:
        print("  " + line)
    return int(bool(load.wrong or load.lost or dropped or load.sent != sum(load.answered.values())))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("requests", 100_000), ("canaries", 20), ("kills", 10), ("per-s", 200.0), ("pause-s", 20.0), ("seed", 1)):
        parser.add_argument(f"--{name}", type=type(value), default=value)
    parser.add_argument("--quick", action="store_true", help="2,000 requests, 4 canaries, 3 kills")
    options = parser.parse_args()
    if options.quick:
        options.requests, options.canaries, options.kills, options.per_s, options.pause_s = 2_000, 4, 3, 60.0, 6.0
    sys.path.insert(0, str(ROOT / "tests"))
    from luthier.app.service import Service
    from versions import export

    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        service = Service(Path(folder) / "home")
        service.deploy(export(service, "says-0"), "support")
        exports = [export(service, f"says-{number + 1}").id for number in range(options.canaries)]
        probe.bind(("127.0.0.1", 0))
        server = Server(Path(folder) / "home", probe.getsockname()[1])
        probe.close()
        try:
            return asyncio.run(measure(server, options, exports))
        finally:
            if server.process is not None:
                server.process.terminate()
                server.process.wait(60)


if __name__ == "__main__":
    sys.exit(main())
