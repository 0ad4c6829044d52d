"""Speed of a training when another process takes one core, as a share of its speed on a quiet machine: at least 45 %.

python bench/contention.py [--quick] [--spins 0,2000,endless]   (several: compares settings of GOMP_SPINCOUNT)
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from typing import Any

from real_data import finish
from trying import use_environment

LEAST = 0.45
BUSY = "while True: pass"
INNER = """
import sys, time
sys.path.insert(0, {bench!r})
from real_data import banking77
from trying import Setting, plan_of
from luthier.stages.train.fit import fit
from luthier.stages.train.request import FitRequest
setting = Setting(banking77("train", 1500), banking77("test", 100))
plan = plan_of("full", "quick", epochs=9, fitted_head=False)
fit(FitRequest(setting.task, setting.base, setting.schema, plan, setting.train, max_steps=2))
start = time.perf_counter()
result = fit(FitRequest(setting.task, setting.base, setting.schema, plan, setting.train, max_steps={steps}))
print(result.tokens / result.seconds)
"""


def speed(spins: str, threads: int, steps: int, busy: bool) -> float:
    """Tokens a second of a short training in its own process."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "GOMP_SPINCOUNT": spins}
    if spins == "endless":
        environment |= {"OMP_WAIT_POLICY": "ACTIVE"}
        del environment["GOMP_SPINCOUNT"]
    other = subprocess.Popen([sys.executable, "-c", BUSY]) if busy else None
    try:
        code = INNER.format(bench=os.path.dirname(os.path.abspath(__file__)), steps=steps)
        out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
        return float(out.split()[-1])
    finally:
        if other is not None:
            other.kill()
            other.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--spins", default="")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    use_environment()
    from luthier.stages.train.threads import SPINS, cores

    rows: list[dict[str, Any]] = []
    settings = [(spins, cores()) for spins in (args.spins.split(",") if args.spins else [str(SPINS)])]
    settings += [("0", 1)] if args.spins else []
    for spins, threads in settings:
        repeats = 1 if args.quick else args.repeats
        pairs = [
            (speed(spins, threads, 8 if args.quick else 25, False), speed(spins, threads, 8 if args.quick else 25, True))
            for _ in range(repeats)
        ]
        quiet, busy = (statistics.median(values) for values in zip(*pairs, strict=True))
        rows.append({"spins": spins, "threads": threads, "quiet_tokens_per_s": quiet, "busy_tokens_per_s": busy, "share": busy / quiet})
        print(rows[-1], flush=True)
    share = rows[0]["share"]
    finish("contention", rows, {f"beside a busy process {share:.0%} of the quiet speed >= {LEAST:.0%}": share >= LEAST})


if __name__ == "__main__":
    main()
