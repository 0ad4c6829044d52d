"""SIGKILLs at random moments over prepare, train, evaluate and export: every run ends, with the weights of a run that nobody touched.

    python bench/kill.py [--kills 50] [--a-run 25] [--seed 1] [--rows 240]

Each kill takes one process of the run at random: the command, the stage's process, or a worker of evaluate. After it the bench waits until
nothing of the run is alive (nobody else is killed for that), looks for torn files, and starts the same command again. The measured choices
(threads, int8) are those of the untouched run: they decide how sums are rounded.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from real_data import finish

STAGES = ("prepare", "train", "evaluate", "export")
MARK = "LUTHIER_KILL_BENCH"
GONE_S = 15.0
RECIPE = """
task: text-classification
model: all-minilm-l6-v2
data: {{train: "made:support-messages", rows: {rows}, map: {{text: text, label: label}}, group: conversation_id}}
train: {{method: full, effort: quick, batch_tokens: 192, checkpoint_s: 0.5, average_share: 0.3}}
evaluate: {{folds: 2, bootstrap: 100, baselines: [majority, nearest-centroid]}}
export: {{latency_seconds: 0.1, max_label_change: 0.2, max_metric_loss: 0.2}}
deploy: {{endpoint: support}}
"""


def start(recipe: Path, home: Path) -> subprocess.Popen[bytes]:
    """``luthier run`` in its own process, found again by a mark in the environment of all that it starts."""
    environment = {**os.environ, "LUTHIER_HOME": str(home), MARK: str(home)}
    command = [sys.executable, "-c", "from luthier.cli import main; main()", "run", str(recipe)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def alive(home: Path) -> list[psutil.Process]:
    """Every living process that the run started."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def running_stage(home: Path) -> str:
    """The stage that the database calls running ("" when there is none)."""
    try:
        with sqlite3.connect(f"file:{home / 'luthier.db'}?mode=ro", uri=True, timeout=5) as connection:
            row = connection.execute("select stage from jobs where state = 'running' order by updated_at desc limit 1").fetchone()
            return str(row[0]) if row else ""
    except sqlite3.Error:
        return ""


def kill_in(stage: str, process: subprocess.Popen[bytes], home: Path, after_s: float, chance: random.Random) -> str:
    """Waits for the stage, then ``after_s`` more, and kills one process; what it killed, or "" when the run was over before."""
    while running_stage(home) != stage:
        if process.poll() is not None:
            return ""
        time.sleep(0.02)
    time.sleep(after_s)
    victims = alive(home)
    if process.poll() is not None or not victims:
        return ""
    victim = chance.choice(victims)
    try:
        what = "command" if victim.pid == process.pid else "worker" if "part" in " ".join(victim.cmdline()[:4]) else "stage"
        at = running_stage(home)
        os.kill(victim.pid, signal.SIGKILL)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return ""
    return f"{what} in {at or 'between stages'}"


def orphans(process: subprocess.Popen[bytes], home: Path) -> int:
    """Waits for all to end; how many had not after ``GONE_S`` seconds. A command whose stage was killed must end by itself, too."""
    end = time.monotonic() + GONE_S
    while time.monotonic() < end:
        process.poll()
        if not alive(home):
            return 0
        time.sleep(0.05)
    left = alive(home)
    for one in left:
        one.kill()
    return len(left)


def torn(home: Path) -> list[str]:
    """Files that are in their place and not whole: manifests, checkpoints, JSON, the database. What is written aside does not count."""
    from luthier.store import files

    wrong = []
    for manifest in home.rglob("manifest.json"):
        if any(part.startswith(files.ASIDE) for part in manifest.parts):
            continue
        try:
            bad = files.check_manifest(manifest.parent, files.read_json(manifest).get("files", {}))
        except (OSError, ValueError) as error:
            bad = str(error)
        wrong += [f"{manifest.parent}: {bad}"] if bad else []
    for path in home.rglob("*.json"):
        if not any(part.startswith(files.ASIDE) for part in path.parts):
            try:
                files.read_json(path)
            except OSError as error:
                wrong.append(str(error))
    if (home / "luthier.db").exists():
        with sqlite3.connect(home / "luthier.db", timeout=30) as connection:
            verdict = connection.execute("pragma integrity_check").fetchone()[0]
            wrong += [f"luthier.db: {verdict}"] if verdict != "ok" else []
    return wrong


def made(home: Path) -> dict[str, str]:
    """What the finished run left: hashes of the dataset's rows, of the model's weights and of the answers that were judged."""
    from luthier.store import files
    from luthier.store.artifacts import Artifacts

    found = {}
    names = {"dataset": "train.parquet", "model": "model.safetensors", "evaluation": "predictions.parquet", "export": "schema.json"}
    for kind, name in names.items():
        artifacts = Artifacts(home / "artifacts").all(kind)
        if len(artifacts) != 1:
            return {kind: f"{len(artifacts)} artifacts"}
        place = Path(artifacts[0].path)
        listed = sorted(path.name for path in place.iterdir())
        found[kind] = files.sha256(place / name) if (place / name).exists() else f"no {name} in {listed}"
    return found


def untouched(recipe: Path, home: Path) -> tuple[dict[str, str], dict[str, float]]:
    """The run that nobody kills: what it left, and seconds by stage."""
    process = start(recipe, home)
    error = process.communicate()[1]
    if process.returncode:
        raise SystemExit(f"the untouched run failed: {error.decode()[-2000:]}")
    with sqlite3.connect(home / "luthier.db") as connection:
        rows = connection.execute(
            "select json_extract(body, '$.stage'), json_extract(body, '$.seconds') from events where name = 'stage.finished'"
        )
        seconds = {str(stage): float(s) for stage, s in rows}
    return made(home), seconds


def tormented(
    recipe: Path, home: Path, kills: int, seconds: dict[str, float], measured: list[Path], chance: random.Random
) -> tuple[dict[str, int], list[str], int, dict[str, str]]:
    """One run, killed ``kills`` times and then left to end; (kills by kind, torn files, orphans, what it left)."""
    (home / "cache").mkdir(parents=True)
    for path in measured:
        shutil.copyfile(path, home / "cache" / path.name)
    plan = sorted((STAGES[number % len(STAGES)] for number in range(kills)), key=STAGES.index)
    hits: dict[str, int] = {}
    wrong: list[str] = []
    left = 0
    for stage in plan:
        process = start(recipe, home)
        hit = kill_in(stage, process, home, chance.uniform(0, 0.8 * seconds[stage]), chance)
        if hit:
            left += orphans(process, home)
            wrong += torn(home)
            hits[hit] = hits.get(hit, 0) + 1
            print(f"  killed the {hit}", flush=True)
        else:
            process.communicate()
    process = start(recipe, home)
    error = process.communicate()[1]
    if process.returncode:
        wrong.append(f"the run did not end well: {error.decode()[-1500:]}")
        return hits, wrong, left, {}
    return hits, wrong + torn(home), left + len(alive(home)), made(home)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--a-run", type=int, default=25, help="kills a run takes before it is left alone")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=int, default=240)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    rows: list[dict[str, Any]] = []
    same, every_end, problems, left = True, True, [], 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = folder / "kill.yaml"
        recipe.write_text(RECIPE.format(rows=args.rows), encoding="utf-8")
        wanted, seconds = untouched(recipe, folder / "untouched")
        print(f"untouched: {', '.join(f'{stage} {s:.1f} s' for stage, s in seconds.items())}", flush=True)
        measured = sorted((folder / "untouched" / "cache").glob("machine-*.json"))
        while (done := sum(row["kills"] for row in rows)) < args.kills:
            home = folder / f"run-{len(rows)}"
            hits, wrong, orphaned, got = tormented(recipe, home, min(args.a_run, args.kills - done), seconds, measured, chance)
            problems, left = problems + wrong, left + orphaned
            every_end, same = every_end and bool(got), same and got == wanted
            rows.append({"run": len(rows), "kills": sum(hits.values()), "ended": bool(got), "same": got == wanted, "torn": len(wrong)} | {
                "killed": ", ".join(f"{what} {count}" for what, count in sorted(hits.items()))
            })  # fmt: skip
            print(rows[-1], flush=True)
            shutil.rmtree(home, ignore_errors=True)
    for problem in problems[:10]:
        print(problem)
    kills = sum(row["kills"] for row in rows)
    bars = {
        f"{kills} kills: every run ends": every_end,
        "rows, weights and answers are those of the untouched run, bit by bit": same,
        f"no file torn ({len(problems)} found)": not problems,
        f"nothing orphaned ({left} found)": left == 0,
    }
    finish("kill", rows, bars)


if __name__ == "__main__":
    main()
