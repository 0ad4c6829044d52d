"""Listing files, jobs and events over HTTP when there are many: 100,000 jobs, 10 million events, 100,000 files.

    python bench/api.py [--jobs 100000] [--events 10000000] [--files 100000] [--calls 300] [--database postgres|sqlite]

The rows are written by the database itself; a real server answers, one client asks, one call after the other, over one connection.
Pages are the first ones, ones in the middle, and those of one metadata value. Bar: p95 under 20 ms each.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from real_data import finish

ROOT = Path(__file__).parent.parent
MOST_MS = 20.0
EMPTY = "'{}'"


def numbers(engine: Any, count: int) -> str:
    """A table expression ``g(n)`` of 1 to ``count``."""
    if engine.dialect.name == "postgresql":
        return f"generate_series(1, {count}) AS g(n)"
    return f"(WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < {count}) SELECT n FROM g) AS g"


def word(engine: Any, prefix: str, value: str) -> str:
    """SQL of an id of 24 digits."""
    if engine.dialect.name == "postgresql":
        return f"'{prefix}' || lpad(({value})::text, 24, '0')"
    return f"'{prefix}' || printf('%024d', {value})"


LEASE = {"lease_owner": "''", "lease_token": "''", "lease_expires_at": "0"}
FILE = LEASE | {
    **{"workspace": "'default'", "filename": "'chats.jsonl'", "purpose": "'fine-tune'", "size_bytes": "1000", "sha256": "''", "blob": "''"},
    **{"status": "'processed'", "status_details": "''", "facts": EMPTY, "created_at": "n", "expires_at": "0"},
}
JOB = LEASE | {
    **{
        "workspace": "'default'",
        "state": "'succeeded'",
        "wish": "''",
        "model": "'all-minilm-l6-v2'",
        "validation_file": "''",
        "suffix": "''",
    },
    **{"seed": "1", "request": EMPTY, "spec": EMPTY, "method": EMPTY, "hyperparameters": EMPTY, "metadata": EMPTY, "integrations": "'[]'"},
    **{"error": EMPTY, "fine_tuned_model": "'ft:m'", "result_files": "'[]'", "results": EMPTY, "trained_tokens": "1", "priority": "0"},
    **{
        "needs": EMPTY,
        "idempotency": "''",
        "attempts": "0",
        "created_at": "n",
        "started_at": "n",
        "finished_at": "n",
        "estimated_finish": "0",
    },
}
SAID = {"event": "tuning.said", "at": 1.0, "job": "j", "level": "info", "type": "message", "message": "Step 1/10", "data": {}}
EVENT = {"workspace": "'default'", "at": "n", "name": "'tuning.said'", "body": f"'{json.dumps(SAID)}'"}


def insertion(engine: Any, table: str, count: int, values: dict[str, str]) -> str:
    """One statement that writes ``count`` rows; ``values`` are SQL."""
    return f"INSERT INTO {table} ({', '.join(values)}) SELECT {', '.join(values.values())} FROM {numbers(engine, count)}"


def fill(engine: Any, args: argparse.Namespace) -> None:
    """Writes the rows; every third job carries metadata."""
    job, file = word(engine, "ftjob-", "n"), word(engine, "file-", "n")
    statements = [
        insertion(engine, "files", args.files, FILE | {"id": file}),
        insertion(engine, "fine_tuning_jobs", args.jobs, JOB | {"id": job, "training_file": file}),
        "INSERT INTO fine_tuning_metadata (job_seq, key, value, workspace) "
        "SELECT seq, 'team', 't' || (seq % 50), 'default' FROM fine_tuning_jobs WHERE seq % 3 = 0",
        insertion(engine, "events", args.events, EVENT | {"subject": word(engine, "ftjob-", f"1 + (n % {args.jobs})")}),
    ]
    for statement in statements:
        started = time.monotonic()
        with engine.begin() as connection:
            connection.exec_driver_sql(statement.replace("%", "%%") if engine.dialect.name == "postgresql" else statement)
        print(f"{statement.split('(')[0].strip()}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")


@contextlib.contextmanager
def served(home: Path) -> Iterator[int]:
    """The port of a server."""
    import uvicorn

    from luthier.api import create_app
    from luthier.app.service import Service

    server = uvicorn.Server(uvicorn.Config(create_app(Service(home)), port=0, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(timeout=20)


def timed(port: int, paths: list[str]) -> list[float]:
    """Milliseconds of each call."""
    connection, found = http.client.HTTPConnection("127.0.0.1", port), []
    for path in paths:
        started = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        found.append((time.perf_counter() - started) * 1e3)
        assert answer.status == 200, body
        assert json.loads(body)["data"], path
    return found


def asked(args: argparse.Namespace) -> dict[str, list[str]]:
    chance = random.Random(1)
    some = [chance.randrange(50, args.jobs) for _ in range(args.calls)]
    files = [chance.randrange(50, args.files) for _ in range(args.calls)]
    return {
        "jobs, first page": ["/v1/fine_tuning/jobs?limit=20"] * args.calls,
        "jobs, anywhere": [f"/v1/fine_tuning/jobs?limit=20&after=ftjob-{n:024d}" for n in some],
        "jobs, by metadata": [f"/v1/fine_tuning/jobs?limit=20&metadata[team]=t{n % 50}" for n in some],
        "jobs, without metadata": ["/v1/fine_tuning/jobs?limit=20&metadata=null"] * args.calls,
        "events, newest": [f"/v1/fine_tuning/jobs/ftjob-{n:024d}/events?limit=20" for n in some],
        "files, first page": ["/v1/files?limit=20"] * args.calls,
        "files, anywhere": [f"/v1/files?limit=20&after=file-{n:024d}" for n in files],
        "files, by purpose": ["/v1/files?limit=20&purpose=fine-tune"] * args.calls,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("jobs", 100_000), ("events", 10_000_000), ("files", 100_000), ("calls", 300)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        if args.database == "postgres":
            sys.path.insert(0, str(ROOT / "tests"))
            from postgres import cluster_or_skip

            os.environ["LUTHIER_DATABASE"] = stack.enter_context(cluster_or_skip()).database()
        from luthier.store.workspace import Workspace

        fill(Workspace(folder).engine(), args)
        port = stack.enter_context(served(Path(folder)))
        rows = []
        for what, paths in asked(args).items():
            timed(port, paths[:10])
            spent = sorted(timed(port, paths))
            p95 = spent[int(0.95 * len(spent))]
            rows.append({"database": args.database, "what": what, "p50_ms": statistics.median(spent), "p95_ms": p95, "max_ms": spent[-1]})
    bars = {f"{row['what']}: p95 under {MOST_MS:.0f} ms": row["p95_ms"] < MOST_MS for row in rows}
    finish(f"api on {args.database}", rows, bars, jobs=args.jobs, events=args.events)


if __name__ == "__main__":
    main()
