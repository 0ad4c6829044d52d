"""Few labels: BANKING77 with 8 and 16 rows a class, tuned by contrastive pairs, in full, in the upper layers, and in the output layer only.

    python bench/few_shot.py [--quick] [--shots 8,16] [--seeds 1,2,3] [--ways contrastive,full,...] [--set name=value ...] [--dev]

A seed draws the rows (the same for every way); nothing is held out or chosen by the test set, and each training answers the official
test split once. ``full+`` is ``full`` with as many passes over the rows as ``contrastive`` makes. ``--dev`` judges on 2,000 other training
rows instead: settings are tried there. ``--set`` changes fields of every way's plan.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from real_data import banking77, finish
from trying import Setting, plan_of, use_environment

WAYS = {
    "contrastive": ("contrastive", "standard", {}),
    "full": ("full", "standard", {}),
    "full+": ("full", "standard", {"epochs": 10}),
    "top": ("top", "standard", {}),
    "head": ("head", "standard", {}),
}
DEV_ROWS = 2000


def drawn(rows: list[Any], shots: int, seed: int) -> tuple[list[Any], list[Any]]:
    """So many rows of each class, and the rest."""
    random, found = np.random.default_rng(seed), []
    targets = np.array([row.target for row in rows])
    for label in sorted(set(targets.tolist())):
        found += random.permutation(np.flatnonzero(targets == label))[:shots].tolist()
    chosen = set(found)
    return [rows[at] for at in found], [row for at, row in enumerate(rows) if at not in chosen]


def measured(args: argparse.Namespace, work: Path) -> list[dict[str, Any]]:
    """One row a way, number of shots and seed."""
    train, test, rows = banking77("train"), banking77("test", args.test_rows), []
    for shots in args.shots:
        for seed in args.seeds:
            few, rest = drawn(train, shots, seed)
            other = np.random.default_rng(0).permutation(len(rest))[:DEV_ROWS]
            setting = Setting(few, [rest[at] for at in other] if args.dev else test)
            for way in args.ways:
                method, effort, changes = WAYS[way]
                plan = plan_of(method, effort, **{"patience": 0, **changes, **args.changes})
                result, seconds = setting.fit(plan, seed, work)
                accuracy = 100 * setting.score(result.model, "accuracy")
                rows.append({"shots": shots, "way": way, "seed": seed, "accuracy": accuracy, "s": seconds})
                print(rows[-1], flush=True)
    return rows


def bars_of(rows: list[dict[str, Any]], dev: bool) -> dict[str, bool]:
    """Contrastive against the best of the others, by the mean over seeds."""
    bars: dict[str, bool] = {}
    for shots in sorted({row["shots"] for row in rows}):
        means = {
            way: statistics.fmean(row["accuracy"] for row in rows if (row["shots"], row["way"]) == (shots, way))
            for way in dict.fromkeys(row["way"] for row in rows)
        }
        if "contrastive" in means and len(means) > 1:
            own, best = means.pop("contrastive"), max(means, key=lambda way: means[way])
            where = "other training rows" if dev else "test"
            bars[f"{shots} rows a class, {where}: contrastive {own:.2f} > {best} {means[best]:.2f}"] = own > means[best]
    return bars


def value(text: str) -> tuple[str, Any]:
    """``name=value``; a number where it is one."""
    name, _, said = text.partition("=")
    try:
        return name, float(said) if "." in said or "e" in said else int(said)
    except ValueError:
        return name, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda text: [int(one) for one in text.split(",")]  # noqa: E731
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--shots", default="8,16", type=numbers)
    parser.add_argument("--seeds", default="1,2,3", type=numbers)
    parser.add_argument("--ways", default=",".join(WAYS), type=lambda text: text.split(","))
    parser.add_argument("--set", dest="changes", default=[], action="append", type=value)
    parser.add_argument("--test-rows", type=int, default=0)
    parser.add_argument("--dev", action="store_true")
    args = parser.parse_args()
    args.changes = dict(args.changes)
    if args.quick:
        args.shots, args.seeds, args.ways, args.test_rows = [8], args.seeds[:1], ["contrastive", "head"], args.test_rows or 500
    use_environment()
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(args, Path(folder))
    finish("few_shot", rows, bars_of(rows, args.dev))


if __name__ == "__main__":
    main()
