"""The whole life of a fine-tuned model by every official client: each version, class and way of calling, each step with its time.

    python bench/clients.py [--versions 1.109.1 3.54.0] [--guides]

Starts a server of its own with a random BERT of one layer; the first life trains it, the others find the same work done. Times are those of
the client: from the call to the answer, waiting for the job included. ``--guides`` runs the guides' scripts too.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "clients"))

import environments
import matrix
from test_guides import GUIDES
from world import World, serving

from real_data import finish


def lives(world: World, versions: list[str]) -> dict[matrix.Combination, list[dict[str, Any]]]:
    """Every life; one that could not begin has one step that says why."""
    done = {}
    for one in (one for one in matrix.MATRIX if one.version in versions):
        start = time.perf_counter()
        try:
            done[one] = matrix.life(one, world)
        except (AssertionError, environments.Unavailable, OSError) as error:
            done[one] = [{"step": "start", "ok": False, "ms": 0, "why": str(error)[-800:], "trace": ""}]
        good = sum(said["ok"] for said in done[one])
        print(f"{one!s:34} {good} of {len(done[one])} steps, {time.perf_counter() - start:.1f} s", flush=True)
    return done


def table(done: dict[matrix.Combination, list[dict[str, Any]]]) -> None:
    """A row a step, a column a combination; then what failed, in words."""
    print("\ncolumns:")
    for number, one in enumerate(done):
        print(f"  {number:2d} {one}")
    steps = list(dict.fromkeys(said["step"] for life in done.values() for said in life))
    print("\n" + "ms".rjust(44) + "".join(f"{number:8d}" for number in range(len(done))))
    for name in steps:
        found = [next((said for said in life if said["step"] == name), None) for life in done.values()]
        cells = ["       -" if said is None else f"{said['ms']:8d}" if said["ok"] else "  FAILED" for said in found]
        print(name.rjust(44) + "".join(cells))
    for one, life in done.items():
        for said in life:
            if not said["ok"]:
                print(f"\n{one} {said['step']}: {said['why']}")


def guides(world: World, versions: list[str]) -> int:
    """How many of the guides' scripts failed."""
    failed = 0
    for name in GUIDES:
        for version in versions:
            start = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                shutil.copytree(world.data, Path(folder) / "data")
                try:
                    matrix.guide(name, version, world, str(Path(folder) / "data"))
                    words = "ok"
                except AssertionError as error:
                    words, failed = f"FAILED: {str(error)[-600:]}", failed + 1
            print(f"{name:16} {version:8} {time.perf_counter() - start:6.1f} s {words}", flush=True)
    return failed


def main() -> None:
    """Runs the matrix, and says what failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", nargs="+", default=list(environments.VERSIONS))
    parser.add_argument("--guides", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as world:
        done = lives(world, given.versions)
        table(done)
        failed_guides = guides(world, given.versions) if given.guides else 0
    rows = [
        one._asdict() | {"steps": len(life), "ok": sum(said["ok"] for said in life), "s": round(sum(said["ms"] for said in life) / 1000, 1)}
        for one, life in done.items()
    ]
    bars = {"every step of every life works": all(row["ok"] == row["steps"] for row in rows), "every guide works": not failed_guides}
    finish("clients", rows, bars)


if __name__ == "__main__":
    main()
