"""Quality on public data: BANKING77's official split, and product reviews against TF-IDF with logistic regression tuned with the same care.

    python bench/quality.py [--quick] [--seeds 17,18,19] [--only banking77|reviews] [--method full --effort best] [--rows N]

BANKING77: all 10,003 training rows are trained on, no row is held out, nothing is chosen by the test set, and each seed answers it once.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from real_data import banking77, finish, product_reviews
from trying import Setting, plan_of, use_environment

LEAST_BANKING77 = 0.937
MOST_SECONDS = 600.0
LEAST_GAIN = 0.05


def on_banking77(args: argparse.Namespace, work: Path) -> list[dict[str, Any]]:
    """One row a seed: test accuracy and seconds of training."""
    setting = Setting(banking77("train", args.rows), banking77("test", args.rows // 3))
    rows = []
    for seed in args.seeds:
        plan = plan_of(args.method, args.effort, patience=0)
        result, seconds = setting.fit(plan, seed, work)
        accuracy = setting.score(result.model, "accuracy")
        rows.append(
            {
                "data": "banking77",
                "what": f"{args.method}/{args.effort}",
                "seed": seed,
                "metric": "accuracy",
                "test": accuracy * 100,
                "s": seconds,
            }
        )
        print(rows[-1], flush=True)
    return rows


def on_reviews(args: argparse.Namespace, work: Path) -> list[dict[str, Any]]:
    """Test macro-F1 of the tuned baseline and of the fine-tune; both choose by the validation rows."""
    splits = product_reviews(args.rows)
    rows = [_tfidf(splits)]
    print(rows[-1], flush=True)
    setting = Setting(splits["train"], splits["test"], splits["validation"])
    for seed in args.seeds[: args.review_seeds]:
        plan = plan_of(
            args.review_method, args.review_effort, metric="macro_f1", **({"epochs": args.review_epochs} if args.review_epochs else {})
        )
        result, seconds = setting.fit(plan, seed, work)
        score = setting.score(result.model, "macro_f1")
        what = f"{args.review_method}/{args.review_effort}"
        rows.append({"data": "reviews", "what": what, "seed": seed, "metric": "macro_f1", "test": score * 100, "s": seconds})
        print(rows[-1], flush=True)
    return rows


def _tfidf(splits: dict[str, list[Any]]) -> dict[str, Any]:
    """TF-IDF + logistic regression, the best of 48 settings by validation macro-F1."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score

    start = time.perf_counter()
    texts = {name: [e.inputs["text"] for e in rows] for name, rows in splits.items()}
    right = {name: [e.target for e in rows] for name, rows in splits.items()}
    best: tuple[float, float, str] = (-1.0, 0.0, "")
    for analyzer, ngrams in (("word", (1, 1)), ("word", (1, 2)), ("word", (1, 3)), ("char_wb", (2, 5))):
        vectorizer = TfidfVectorizer(analyzer=analyzer, ngram_range=ngrams, sublinear_tf=True, min_df=2)
        train = vectorizer.fit_transform(texts["train"])
        others = {name: vectorizer.transform(texts[name]) for name in ("validation", "test")}
        for strength in (0.1, 0.3, 1.0, 3.0, 10.0, 30.0):
            for weight in (None, "balanced"):
                model = LogisticRegression(C=strength, class_weight=weight, max_iter=1000).fit(train, right["train"])
                score = f1_score(right["validation"], model.predict(others["validation"]), average="macro")
                if score > best[0]:
                    test = f1_score(right["test"], model.predict(others["test"]), average="macro")
                    best = (score, test, f"{analyzer} {ngrams} C={strength} {weight}")
    seconds = time.perf_counter() - start
    return {"data": "reviews", "what": f"tfidf {best[2]}", "seed": 0, "metric": "macro_f1", "test": best[1] * 100, "s": seconds}


def bars_of(rows: list[dict[str, Any]], quick: bool) -> dict[str, bool]:
    """What must hold; in a quick try only that it learned at all."""
    banking = [row for row in rows if row["data"] == "banking77"]
    reviews = [row for row in rows if row["data"] == "reviews"]
    bars = {}
    if banking:
        mean = statistics.fmean(row["test"] for row in banking)
        least = 0.5 if quick else LEAST_BANKING77
        bars[f"banking77: mean test accuracy of {len(banking)} seeds {mean:.2f} >= {100 * least:.2f}"] = mean >= 100 * least
        slowest = max(row["s"] for row in banking)
        bars[f"banking77: slowest seed {slowest:.0f} s <= {MOST_SECONDS:.0f} s"] = slowest <= MOST_SECONDS
    if len(reviews) > 1:
        gain = float(np.mean([row["test"] for row in reviews[1:]])) - reviews[0]["test"]
        least = -100.0 if quick else 100 * LEAST_GAIN
        bars[f"reviews: macro-F1 {gain:+.2f} points against tuned TF-IDF, >= {least:+.2f}"] = gain >= least
    return bars


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", default="17,18,19", type=lambda text: [int(one) for one in text.split(",")])
    parser.add_argument("--only", choices=["banking77", "reviews"])
    parser.add_argument("--method", default="full")
    parser.add_argument("--effort", default="best")
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--review-method", default="full")
    parser.add_argument("--review-effort", default="quick")
    parser.add_argument("--review-epochs", type=float, default=0.0)
    parser.add_argument("--review-seeds", type=int, default=1)
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.rows = args.seeds[:1], args.rows or 1500
        args.effort, args.review_method, args.review_effort = "quick", "top", "quick"
    use_environment()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        if args.only != "reviews":
            rows += on_banking77(args, Path(folder))
        if args.only != "banking77":
            rows += on_reviews(args, Path(folder))
    finish("quality", rows, bars_of(rows, args.quick))


if __name__ == "__main__":
    main()
