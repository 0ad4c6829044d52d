"""Shows that prepare reads a CSV of any size in bounded memory: makes one, prepares it in its own process, prints peak memory and speed.

    python bench/prepare_memory.py            1 GB
    python bench/prepare_memory.py --mb 100   a try

The bar is 1.5 GB peak resident memory. What must be held for a row is about 40 bytes of numbers; sorting one band of hashes and joining
clusters needs about as much again, and the libraries 250 MB: some 0.9 GB for the 8 million short rows of a 1 GB file. A reader that holds
the rows themselves as Python objects needs 6 GB and more.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BAR_BYTES = 1_500_000_000

_CHILD = """
import json, resource, sys, time
from luthier.core.job import Job
from luthier.stages import prepare
job = Job.model_validate_json(open(sys.argv[1]).read())
last = {}
def emit(event):
    if event.name == "stage.progressed":
        now = time.time()
        if last.get("phase") != event.phase:
            if last: print(f"  {last['phase']}: {now - last['at']:.1f} s", flush=True)
            last.update(phase=event.phase, at=now)
start = time.time()
summary = prepare.run(job, emit)
print(f"  {last['phase']}: {time.time() - last['at']:.1f} s")
print(json.dumps({"seconds": time.time() - start, "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "summary": summary}))
"""


def write_csv(path: Path, size_bytes: int, seed: int) -> int:
    """Made messages with a label, one in fifty with personal data, one in a hundred written twice; the number of rows."""
    chance = random.Random(seed)
    words = ["".join(chance.choices("aeiourstlnmdcp", k=chance.randint(2, 9))) for _ in range(20_000)]
    rows = written = 0
    with path.open("w", encoding="utf-8") as file:
        written += file.write("id,text,label\n")
        line = ""
        while written < size_bytes:
            if rows % 100 != 99:
                text = " ".join(chance.choices(words, k=chance.randint(6, 28)))
                if rows % 50 == 0:
                    text += f" write to {chance.choice(words)}{rows}@example.com"
                line = f'"{text}",label_{chance.randrange(40)}\n'
            written += file.write(f"{rows},{line}")
            rows += 1
    return rows


def main() -> int:
    """Runs the bench; exit code 1 when the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=1000, help="size of the file in MB")
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.time()
        rows = write_csv(folder / "made.csv", options.mb * 1_000_000, options.seed)
        print(f"made {rows:,} rows, {options.mb} MB, in {time.time() - start:.0f} s")
        plan = {"name": "bench", "task": "text-classification", "model": "none", "data": {"train": [str(folder / "made.csv")]}}
        job = {
            "id": "bench",
            "run": "bench",
            "stage": "prepare",
            "plan": plan,
            "work": str(folder / "work"),
        }
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        child = subprocess.run([sys.executable, "-c", _CHILD, str(folder / "job.json")], stdout=subprocess.PIPE, text=True, check=True)
        *phases, last = child.stdout.strip().splitlines()
        print("\n".join(phases))
        told = json.loads(last)
    rss = told["rss"]
    print(f"rows/s          {rows / told['seconds']:,.0f}  ({told['seconds']:.0f} s)")
    print(f"peak memory     {rss / 1e6:,.0f} MB   (the file: {options.mb:,} MB)")
    print(f"summary         {json.dumps(told['summary'])}")
    print(f"bar             peak memory below {BAR_BYTES / 1e6:,.0f} MB: {'passed' if rss < BAR_BYTES else 'MISSED'}")
    return 0 if rss < BAR_BYTES else 1


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.exit(main())
