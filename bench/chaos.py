"""A hundred jobs while the server and its workers are killed two hundred times: each ends as it should, once, and nothing is left behind.

    python bench/chaos.py [--jobs 100] [--kills 200] [--workers 1] [--real 30] [--every 2.5] [--seed 1] [--postgres]

Jobs are created over HTTP as clients do it: a request whose answer was lost is sent again, marked as a repetition. ``real`` of them train
a tiny BERT (a few different trainings, so that several jobs want the same work at once); the others go through every stage without
training. Some must fail at their gate, and some are cancelled. SIGKILL takes the server, a worker, a stage's process, or all of them at
once, as when the machine loses power, at random. With ``--postgres`` the state is in a private PostgreSQL cluster, and three workers share
it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from real_data import finish
from serving import free_port

MARK = "LUTHIER_CHAOS_BENCH"
ROOT = Path(__file__).parent.parent
SMALL: dict[str, Any] = {
    "train": {"method": "full", "effort": "quick", "threads": 1, "precision": "fp32", "checkpoint_s": 0.2},
    "evaluate": {"baselines": ["majority"], "bootstrap": 20},
    "export": {"latency_seconds": 0.02, "max_label_change": 1, "max_metric_loss": 1, "runtimes": ["onnx"]},
}
SPREAD = 0.8
"""Share of the time of the kills over which jobs are created."""

MACHINE = 0.05
"""Share of the kills that take everything at once."""

OPEN = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class House:
    """The server and its workers, each started again when it was killed."""

    def __init__(self, home: Path, workers: int, environment: dict[str, str]) -> None:
        self.home = home
        self.environment = {**os.environ, **environment, "LUTHIER_HOME": str(home), MARK: str(home), "OMP_NUM_THREADS": "1"}
        self.port = free_port()
        serve = ["-c", "from luthier.cli import main; main()", "serve", "--no-keys", "--no-worker", "--port", str(self.port)]
        work = ["-m", "luthier.app.beside", str(home), "0"]
        self.commands = {"server": serve} | {f"worker {number}": work for number in range(workers)}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.closing = threading.Event()
        self.keeper = threading.Thread(target=self._keep, daemon=True)

    def start(self) -> None:
        """Starts all, and keeps all running."""
        self.keeper.start()

    def _keep(self) -> None:
        while not self.closing.wait(0.1):
            for name, command in self.commands.items():
                process = self.processes.get(name)
                if process is None or process.poll() is not None:
                    log = (self.home.parent / f"{name.replace(' ', '-')}.log").open("ab")
                    self.processes[name] = subprocess.Popen([sys.executable, *command], env=self.environment, stdout=log, stderr=log)

    def stop(self) -> None:
        """Ends all in good order."""
        self.closing.set()
        self.keeper.join()
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)

    def alive(self) -> list[psutil.Process]:
        """Every living process of the house, stages and their workers too."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == str(self.home) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def kill(self, chance: random.Random) -> str:
        """SIGKILLs one at random, or the whole machine (all at once, a PostgreSQL aside); what it was ("" when it was gone already)."""
        if chance.random() < MACHINE:
            for process in self.alive():
                with contextlib.suppress(psutil.Error):
                    process.kill()
            return "machine"
        main = {process.pid: name for name, process in self.processes.items() if process.poll() is None}
        stages = [process.pid for process in self.alive() if process.pid not in main]
        what = chance.choice([*main.values(), "stage"] if stages else [*main.values()])
        victim = chance.choice(stages) if what == "stage" else next(pid for pid, name in main.items() if name == what)
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            return ""
        return what

    def ask(self, method: str, path: str, body: Any = None, *, patience_s: float = 120.0) -> Any:
        """An answer in spite of everything: sent again, marked as a repetition, as OpenAI's clients do it."""
        end, tries = time.monotonic() + patience_s, 0
        while True:
            data = None if body is None else json.dumps(body).encode()
            headers = {"content-type": "application/json", "x-stainless-retry-count": str(tries)}
            call = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
            try:
                with OPEN(call, timeout=30) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code < 500 or time.monotonic() > end:
                    return json.load(error)
            except (OSError, ValueError):
                if time.monotonic() > end:
                    raise
            tries += 1
            time.sleep(0.3)


def training_files(home: Path, count: int) -> list[str]:
    """Files of chats with labels, put into the store before anything is killed."""
    from luthier.app.service import Service

    sys.path.insert(0, str(ROOT / "tests" / "clients"))
    import world

    world.base_model(home / "models" / "tiny")
    service, rows = Service(home), world.messages(160 * count)
    parts = [rows[number::count] for number in range(count)]
    return [service.files.create("chats.jsonl", "fine-tune", ["\n".join(map(world.chat_line, part)).encode()]).id for part in parts]


def bodies(args: argparse.Namespace, names: list[str]) -> list[dict[str, Any]]:
    """What each job asks for; ``metadata.end`` says how it must end."""
    found = []
    for number in range(args.jobs):
        real = number < args.real
        body: dict[str, Any] = {"model": "tiny", "training_file": names[number % len(names)], "seed": 1, "suffix": f"n{number}"}
        body |= {key: dict(value) for key, value in SMALL.items()}
        end = "succeeded"
        if not real:
            body |= {"executor": "dummy", "seed": number}
        elif number % 10 == 3:
            body["evaluate"] |= {"bars": {"accuracy": 1.01}}
            end = "failed"
        elif number % 10 == 7:
            body |= {"hyperparameters": {"n_epochs": 50, "batch_size": 1}, "seed": 1000 + number}
            end = "cancelled"
        found.append(body | {"metadata": {"n": str(number), "end": end}})
    return found


def states(home: Path) -> list[dict[str, Any]]:
    from luthier.app.tunings import Tunings
    from luthier.store.workspace import Workspace

    return Tunings(Workspace(home).engine(), "default").page(100_000)


def create(args: argparse.Namespace, house: House, wanted: list[dict[str, Any]]) -> None:
    """Sends the jobs, spread over the time of the kills: none is killed at leisure when all is done."""
    for body in wanted:
        house.ask("POST", "/v1/fine_tuning/jobs", body)
        time.sleep(SPREAD * args.kills * args.every / args.jobs)


def disturb(args: argparse.Namespace, house: House, home: Path, killed: Counter[str]) -> None:
    """Kills at random moments, and creates and cancels jobs meanwhile, until all is done."""
    chance = random.Random(args.seed)
    wanted = bodies(args, training_files(home, 4))
    chance.shuffle(wanted)
    house.start()
    creating = threading.Thread(target=create, args=(args, house, wanted))
    creating.start()
    end = time.monotonic() + args.limit_s
    while time.monotonic() < end:
        time.sleep(chance.uniform(0.2, 2 * args.every))
        if killed.total() < args.kills and (what := house.kill(chance)):
            killed[what.split()[0]] += 1
        rows = states(home)
        for row in rows:
            if row["metadata"]["end"] == "cancelled" and row["state"] == "running" and row["results"].get("dataset") is None:
                threading.Thread(target=house.ask, args=("POST", f"/v1/fine_tuning/jobs/{row['id']}/cancel", {}), daemon=True).start()
        done = sum(row["state"] in ("succeeded", "failed", "cancelled") for row in rows)
        print(f"\r{done}/{args.jobs} jobs ended, {killed.total()}/{args.kills} kills {dict(killed)}", end="", file=sys.stderr, flush=True)
        if done == args.jobs and not creating.is_alive() and killed.total() >= args.kills:
            break
    print(file=sys.stderr)
    creating.join(timeout=5)


def judge(args: argparse.Namespace, home: Path, house: House, killed: Counter[str]) -> tuple[list[dict[str, Any]], dict[str, bool]]:
    from luthier.app.service import Service
    from luthier.core.events import TuningMoved

    service, rows = Service(home), states(home)
    wrong = [
        f"{row['id']} {row['state']} instead of {row['metadata']['end']}: {row['error']}"
        for row in rows
        if row["state"] != row["metadata"]["end"]
    ]
    numbers = Counter(row["metadata"]["n"] for row in rows)
    told = Counter(entry.subject for entry in service.journal.all(names=[TuningMoved.name]) if entry.body["new"] == "succeeded")
    made: dict[tuple[str, Any], set[str]] = {}
    for row in rows:
        if row["state"] == "succeeded" and row["spec"].get("executor") != "dummy":
            made.setdefault((row["training_file"], row["seed"]), set()).add(row["results"]["model"])
    torn = []
    for artifact in service.workspace.artifacts.all():
        with contextlib.suppress(Exception):
            service.workspace.artifacts.check(artifact.id)
            continue
        torn.append(artifact.id)
    house.stop()
    time.sleep(3)
    orphans = [" ".join(process.cmdline()[:4]) for process in house.alive()]
    for line in [*wrong, *torn, *orphans]:
        print("  ", line, file=sys.stderr)
    row = {"jobs": len(rows), "kills": killed.total(), "killed": dict(killed), "states": dict(Counter(one["state"] for one in rows))}
    attempts = [one["attempts"] for one in rows]
    row |= {"taken over": sum(attempts), "most": max(attempts, default=0), "trainings": len(made)}
    return [row], {
        f"{args.jobs} jobs, none lost, none twice": len(rows) == args.jobs and max(numbers.values(), default=0) == 1,
        "each ended as it should": not wrong,
        "each success was told, once": dict(told) == {one["id"]: 1 for one in rows if one["state"] == "succeeded"},
        "the same training gave the same weights, bit by bit": all(len(models) == 1 for models in made.values()),
        f"no artifact torn ({len(torn)})": not torn,
        f"no orphan process ({len(orphans)})": not orphans,
        f"{args.kills} kills": killed.total() >= args.kills,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("jobs", 100), ("kills", 200), ("workers", 1), ("real", 30), ("seed", 1), ("limit-s", 3000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--every", type=float, default=2.5, help="mean seconds between kills")
    parser.add_argument("--postgres", action="store_true")
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="chaos-"))
    killed: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        environment: dict[str, str] = {}
        if args.postgres:
            sys.path.insert(0, str(ROOT / "tests"))
            from postgres import cluster_or_skip

            environment["LUTHIER_DATABASE"] = os.environ["LUTHIER_DATABASE"] = stack.enter_context(cluster_or_skip()).database()
            args.workers = max(3, args.workers)
        house = House(work / "home", args.workers, environment)
        disturb(args, house, work / "home", killed)
        rows, bars = judge(args, work / "home", house, killed)
        name = "chaos on PostgreSQL" if args.postgres else "chaos on SQLite"
        finish(name, [{"database": name.split()[-1], "workers": args.workers} | rows[0]], bars)
    shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
