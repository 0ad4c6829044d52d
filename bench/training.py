"""Speed of training against the plain ``transformers.Trainer`` with its defaults: same model, data, machine, one run.

    python bench/training.py [--quick] [--rows N] [--seeds 17,18,19] [--plain-seeds 1] [--skip-prediction | --only-prediction]

The Trainer: batch 8, padding to the longest of a batch, learning rate 5e-5, 3 epochs, linear decay, no evaluation and no saving inside
the clock.
Ours: everything inside the clock, the micro-benchmark and the cached features too. Accuracy is on BANKING77's official test rows, asked
once a run. A method runs as effort quick plans it, and with one epoch; its time to the Trainer's accuracy is that of the fastest of the two
whose mean accuracy is not below the Trainer's by more than 0.3 points.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from real_data import banking77, base_model, finish, the_task
from trying import Setting, plan_of, use_environment

RATIOS = {"full": 3.5, "top": 7.0, "head": 15.0}
RUNS: dict[str, list[dict[str, Any]]] = {"full": [{}, {"epochs": 1}], "top": [{}, {"epochs": 1}], "head": [{}]}
"""What each method changes of effort quick's plan, a run each."""
SAME_ACCURACY = 0.3
FOLDS = 5


def plain_trainer(setting: Setting, seed: int) -> dict[str, Any]:
    """transformers' own way, as its documentation shows it."""
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    base = base_model()
    set_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(setting.schema["labels"]))
    tokenizer = AutoTokenizer.from_pretrained(base)

    def plain(items: Any) -> list[dict[str, Any]]:
        return [
            {"input_ids": i["input_ids"].tolist(), "attention_mask": [1] * len(i["input_ids"]), "labels": int(i["labels"])} for i in items
        ]

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, report_to="none", save_strategy="no", seed=seed, disable_tqdm=True, logging_strategy="no"
        )
        trainer = Trainer(model, arguments, DataCollatorWithPadding(tokenizer), plain(setting.train))
        start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
        with torch.inference_mode():
            logits = trainer.predict(plain(setting.test)).predictions
    right = np.array([item["labels"] for item in setting.test])
    return _row("transformers.Trainer", seed, seconds, 3.0, setting, float((logits.argmax(1) == right).mean()))


def ours(setting: Setting, method: str, changes: dict[str, Any], seed: int, work: Path) -> dict[str, Any]:
    plan = plan_of(method, "quick", patience=0, **changes)
    result, seconds = setting.fit(plan, seed, work)
    return _row(f"{method}, {plan.epochs:g} epochs", seed, seconds, result.epochs, setting, setting.score(result.model, "accuracy"))


def _row(what: str, seed: int, seconds: float, epochs: float, setting: Setting, accuracy: float) -> dict[str, Any]:
    row = {
        "what": what,
        "seed": seed,
        "s": seconds,
        "epochs": epochs,
        "rows_per_s": len(setting.train) * epochs / seconds,
        "accuracy": 100 * accuracy,
    }
    print(row, flush=True)
    return row


def folds(setting: Setting, method: str, work: Path) -> tuple[float, float]:
    """(seconds of features, seconds of 5 folds and the final model on them); folds are stratified."""
    import torch
    from sklearn.model_selection import StratifiedKFold

    from luthier.core import registry
    from luthier.stages.train.features import FeatureCache
    from luthier.stages.train.fit import fit
    from luthier.stages.train.machine import choose
    from luthier.stages.train.request import FitRequest, prepare_model

    plan = plan_of(method, "quick", patience=0)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as own:
        request = FitRequest(setting.task, setting.base, setting.schema, plan, setting.train)
        machine = choose(request, Path(own), str(work))
        torch.set_num_threads(machine.threads)
        model = prepare_model(request)
        cut = registry.get("methods", method).cut(plan, model.depth)
        items = FeatureCache.build(setting.task, model, setting.train, cut, Path(own), int8=machine.int8).attach(setting.train)
        features_s = time.perf_counter() - start
        start = time.perf_counter()
        right = np.array([int(item["labels"]) for item in items])
        accuracies = []
        for train, held in StratifiedKFold(FOLDS, shuffle=True, random_state=13).split(right, right):
            kept = [items[n] for n in held]
            result = fit(FitRequest(setting.task, setting.base, setting.schema, plan, [items[n] for n in train], kept))
            accuracies.append(float((result.validation_outputs["logits"].argmax(1) == right[held]).mean()))
        fit(FitRequest(setting.task, setting.base, setting.schema, plan, items))
        seconds = time.perf_counter() - start
    accuracy, spread = 100 * np.mean(accuracies), 100 * np.std(accuracies)
    print(f"{method}: features {features_s:.1f} s, {FOLDS} folds + final {seconds:.1f} s, accuracy {accuracy:.2f} ± {spread:.2f}")
    return features_s, seconds


def predictions(rows: int, folder: Path) -> list[dict[str, Any]]:
    """Five whole train stages as processes: predicted and true wall time."""
    from luthier.core.job import Job
    from luthier.core.plan import Plan
    from luthier.store import datasets, files

    examples = banking77("train", rows)
    dataset = folder / "dataset"
    held = len(examples) // 10
    order = np.random.default_rng(5).permutation(len(examples))
    datasets.write_split(dataset, "train", [examples[n] for n in order[held:]])
    datasets.write_split(dataset, "validation", [examples[n] for n in order[:held]])
    files.write_json(dataset / "schema.json", the_task().schema([e.target for e in examples]))
    found = []
    for number, (method, effort, epochs) in enumerate(
        [("full", "quick", 1), ("top", "quick", 3), ("head", "quick", 20), ("full", "quick", 2), ("lora", "quick", 2)]
    ):
        work = folder / f"work-{number}"
        work.mkdir()
        plan = Plan(
            name="bench", task="text-classification", model="all-minilm-l6-v2", train=plan_of(method, effort, epochs=epochs, patience=0)
        )
        inputs = {"dataset": str(dataset), "base": str(base_model())}
        job = Job(id="j", run="r", stage="train", plan=plan, inputs=inputs, work=str(work))
        (work / "job.json").write_text(job.model_dump_json())
        subprocess.run(
            [sys.executable, "-m", "luthier.stages", str(work / "job.json")],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        training = json.loads((work / "out" / "training.json").read_text())
        found.append(
            {
                "run": f"{method} x{epochs}",
                "predicted_s": training["predicted_s"],
                "wall_s": training["wall_s"],
                "error": training["prediction_error"],
            }
        )
        print(found[-1], flush=True)
    return found


def bars_of(
    rows: list[dict[str, Any]], cv: dict[str, tuple[float, float]], predicted: list[dict[str, Any]], quick: bool
) -> dict[str, bool]:
    def mean(what: str, name: str) -> float:
        return statistics.fmean(row[name] for row in rows if row["what"].startswith(what))

    bars: dict[str, bool] = {}
    if not rows:
        return _predicted(bars, predicted)
    plain_s, plain_accuracy = mean("transformers", "s"), mean("transformers", "accuracy")
    for method, least in RATIOS.items():
        names = sorted({row["what"] for row in rows if row["what"].startswith(f"{method},")}, key=lambda name: mean(name, "s"))
        equal = [name for name in names if mean(name, "accuracy") >= plain_accuracy - SAME_ACCURACY]
        for name in names:
            gain = mean(name, "accuracy") - plain_accuracy
            print(f"{name}: {plain_s / mean(name, 's'):.1f} x the plain Trainer's speed, accuracy {gain:+.2f} points")
        ratio = plain_s / mean(equal[0], "s") if equal else 0.0
        bars[f"{method}: {ratio:.1f} x faster to the plain Trainer's accuracy ({plain_accuracy:.2f} %), >= {least}"] = ratio >= least
    top = sum(cv["top"])
    bars[f"top: features + {FOLDS} folds + final {top:.0f} s < one plain training {plain_s:.0f} s"] = top < plain_s
    bars[f"head: {FOLDS} folds + final after features {cv['head'][1]:.1f} s < 15 s"] = cv["head"][1] < 15.0
    _predicted(bars, predicted)
    return dict.fromkeys(bars, True) if quick else bars


def _predicted(bars: dict[str, bool], predicted: list[dict[str, Any]]) -> dict[str, bool]:
    if predicted:
        near = sum(abs(row["error"]) <= 0.15 for row in predicted)
        bars[f"predicted wall time within 15 % in {near} of {len(predicted)}, >= 4"] = near >= 4
    return bars


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1,200 rows, one seed; prints the bars but does not hold anyone to them")
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--seeds", default="17,18,19", type=lambda text: [int(one) for one in text.split(",")])
    parser.add_argument("--plain-seeds", type=int, default=0, help="seeds that the plain Trainer runs, the first ones (0: all)")
    parser.add_argument("--skip-prediction", action="store_true")
    parser.add_argument("--only-prediction", action="store_true")
    args = parser.parse_args()
    if args.quick:
        args.rows, args.seeds = args.rows or 1200, args.seeds[:1]
    use_environment()
    setting = Setting(banking77("train", args.rows), banking77("test", args.rows // 3))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate([] if args.only_prediction else args.seeds):
            if number < (args.plain_seeds or len(args.seeds)):
                rows.append(plain_trainer(setting, seed))
            rows += [ours(setting, method, changes, seed, Path(folder)) for method in RATIOS for changes in RUNS[method]]
        cv = {method: folds(setting, method, Path(folder)) for method in (() if args.only_prediction else ("top", "head"))}
        predicted = [] if args.skip_prediction else predictions(args.rows or 4000, Path(folder))
    bars = bars_of(rows, cv, predicted, quick=False)
    if args.quick:
        for bar, held in bars.items():
            print(f"{'held' if held else 'missed'} (quick, not counted): {bar}")
        bars = {}
    finish(
        "training", rows or predicted, bars, predictions=predicted, folds={m: {"features_s": a, "fits_s": b} for m, (a, b) in cv.items()}
    )


if __name__ == "__main__":
    main()
