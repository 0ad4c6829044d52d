"""A domain's language first: few labels, with and without reading the other texts of the domain, and with words that become tokens.

    python bench/jargon.py [--quick] [--data banking77|reviews] [--shots 10] [--texts 0] [--epochs 3] [--added 200] [--seeds 1,2,3]
                           [--method full --effort standard] [--set name=value ...]

A seed draws the labelled rows (so many a class) from the training split; all other rows of that split are texts without labels (or
``--texts`` of them). The adapted base models are made once a seed and judged, after the same fine-tuning, on the test split (BANKING77's
own; of the reviews, items that are in no other split).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from few_shot import drawn, value
from real_data import banking77, base_model, finish, product_reviews, the_task
from trying import Setting, plan_of, use_environment

METRIC = {"banking77": "accuracy", "reviews": "macro_f1"}


def rows_of(args: argparse.Namespace) -> tuple[list[Any], list[Any]]:
    """Training and test rows."""
    if args.data == "banking77":
        return banking77("train"), banking77("test", args.test_rows)
    splits = product_reviews(args.rows)
    return splits["train"], splits["test"][: args.test_rows or None]


def measured(args: argparse.Namespace, work: Path) -> list[dict[str, Any]]:
    """One row a way and seed: the metric on test rows, seconds of reading and of fine-tuning."""
    from luthier.stages.train.adapt.making import make

    train, test = rows_of(args)
    task, rows = the_task(), []
    for seed in args.seeds:
        few, rest = drawn(train, args.shots, seed)
        rest = [rest[at] for at in np.random.default_rng(seed).permutation(len(rest))[: args.texts or None]]
        unseen = {task.text(row) for row in test}
        texts = [text for text in dict.fromkeys(map(task.text, [*rest, *few])) if text not in unseen]
        for way in args.ways:
            place, start = work / f"{way}-{seed}", time.perf_counter()
            if way == "plain":
                place = base_model()
            else:
                asked = plan_of("full", "standard", adapt_epochs=args.epochs, added_tokens=args.added if way == "tokens" else 0, seed=seed)
                make(base_model(), asked.model_copy(update=args.changes), texts, place, work / "adapt", lambda event: None)
            read_s = time.perf_counter() - start
            plan = plan_of(args.method, args.effort, patience=0, **args.changes)
            setting = Setting(few, test, base=place)
            result, seconds = setting.fit(plan, seed, work)
            score = 100 * setting.score(result.model, METRIC[args.data])
            rows.append(
                {"data": args.data, "way": way, "seed": seed, METRIC[args.data]: score, "texts": len(texts), "read_s": read_s, "s": seconds}
            )
            print(rows[-1], flush=True)
    return rows


def bars_of(args: argparse.Namespace, rows: list[dict[str, Any]]) -> dict[str, bool]:
    """The better of the adapted ways against the plain one, by the mean over seeds."""
    name = METRIC[args.data]
    means = {way: statistics.fmean(row[name] for row in rows if row["way"] == way) for way in args.ways}
    if "plain" not in means or len(means) < 2:
        return {}
    plain = means.pop("plain")
    best = max(means, key=lambda way: means[way])
    return {f"{args.data}, {args.shots} rows a class: {best} {means[best]:.2f} > plain {plain:.2f} ({name})": means[best] > plain}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", default="banking77", choices=list(METRIC))
    parser.add_argument("--shots", type=int, default=10)
    parser.add_argument("--texts", type=int, default=0)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--added", type=int, default=200)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--test-rows", type=int, default=0)
    parser.add_argument("--seeds", default="1,2,3", type=lambda text: [int(one) for one in text.split(",")])
    parser.add_argument("--ways", default="plain,adapted,tokens", type=lambda text: text.split(","))
    parser.add_argument("--method", default="full")
    parser.add_argument("--effort", default="standard")
    parser.add_argument("--set", dest="changes", default=[], action="append", type=value)
    args = parser.parse_args()
    args.changes = dict(args.changes)
    if args.quick:
        args.seeds, args.texts, args.epochs, args.test_rows, args.method = args.seeds[:1], 500, 1.0, 300, "head"
    use_environment()
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(args, Path(folder))
    finish("jargon", rows, bars_of(args, rows))


if __name__ == "__main__":
    main()
