"""Understanding messages: SNIPS, customer support with many and with ten rows an intent, and made messages of up to three questions.

    python bench/understanding.py [--quick] [--only snips|support|few|questions] [--seeds 17] [--epochs 0]

Intents and spans are learned together by one 22.7 M-parameter encoder. Nothing is chosen by test rows: SNIPS gives every 20th training row
to validation, support_chat has a split of its own. Each row of the table also says how long the int8 graph takes for a message, one core.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core import registry
from luthier.core.ports import Judged
from luthier.core.types import Example, Place
from real_data import finish
from spans import answered, export, scores, snips, support_chat
from trying import Setting, plan_of, use_environment

BARS = {
    ("snips", "accuracy"): 98.0,
    ("snips", "entity_f1"): 95.0,
    ("support", "accuracy"): 99.0,
    ("support", "entity_f1"): 97.0,
    ("few", "accuracy"): 93.0,
}
"""Data and score: the least on test rows, in percent."""
MOST_MS = 10.0
QUESTION = "where is my parcel? also, please cancel the blue kettle. and what are your opening hours on saturday?"
ASKED = {
    "order_status": "where is my parcel?",
    "cancel_order": "also, please cancel the blue kettle.",
    "opening_hours": "and what are your opening hours on saturday?",
}
SETTINGS = {"learning_rate": 2.5e-4, "head_learning_rate": 2e-3, "fitted_head": False, "threads": 1, "precision": "fp32"}
EPOCHS = {"snips": 4.0, "support": 6.0, "few": 40.0, "questions": 6.0}
SHOWN = (
    "accuracy",
    "macro_f1",
    "rare_f1",
    "entity_f1",
    "entity_partial_f1",
    "joint_accuracy",
    "multi_intent_accuracy",
    "out_of_scope_recall",
)
METRICS = ("accuracy", "f1", "rare-f1", "entity-f1", "joint-accuracy", "intent-sets", "out-of-scope")


def parts_of(task: Any, name: str, rows: int = 0) -> dict[str, list[Example]]:
    """Train, validation and test rows of one data set."""
    if name == "snips":
        every = snips(task, "train")
        found = {
            "train": [row for number, row in enumerate(every) if number % 20 != 7],
            "validation": every[7::20],
            "test": snips(task, "test"),
        }
    elif name == "questions":
        made = _made(task, rows or 6000, 7)
        cut = len(made) - len(made) // 10
        found = {"train": made[:cut], "validation": made[cut:], "test": _made(task, 1000, 8)}
    else:
        found = {split: support_chat(task, file) for split, file in (("train", "train"), ("validation", "dev"), ("test", "test"))}
        if name == "few":
            found["train"] = _ten(found["train"])
    if not rows or name == "few":
        return found
    return {split: _some(part, rows if split == "train" else rows // 3) for split, part in found.items()}


def _made(task: Any, count: int, seed: int) -> list[Example]:
    from luthier.catalog.made import make

    return [task.example(row, Place("support-questions", line)) for line, row in enumerate(make("support-questions", count, seed), 1)]


def _ten(examples: Sequence[Example], count: int = 10) -> list[Example]:
    """So many rows of each intent, drawn by a seed."""
    order, taken = np.random.default_rng(13).permutation(len(examples)).tolist(), {}  # type: ignore[var-annotated]
    for number in order:
        taken.setdefault(examples[number].target["labels"][0], []).append(examples[number])
    return [example for rows in taken.values() for example in rows[:count]]


def _some(examples: list[Example], count: int) -> list[Example]:
    return [examples[int(at * len(examples) / count)] for at in range(count)] if 0 < count < len(examples) else examples


def tried(task: Any, name: str, args: argparse.Namespace, seed: int, work: Path) -> dict[str, Any]:
    """Trains, exports, and judges the int8 graph's and the trained model's answers on the test rows."""
    from luthier.stages.inference import predict

    parts = parts_of(task, name, args.rows)
    epochs = args.epochs or (1.0 if args.quick else EPOCHS[name])
    plan = plan_of("full", "standard", **{**SETTINGS, "epochs": epochs, "patience": 0})
    setting = Setting(parts["train"], parts["test"], parts["validation"], task=task, plan=plan)
    result, seconds = setting.fit(plan, seed, work)
    calibration = _calibration(setting, predict(task, result.model, setting.validation), parts["validation"])
    folder = work / f"{name}-{seed}"
    export(setting, result.model, folder, calibration)
    bare = [Example(one.id, one.inputs) for one in parts["test"]]
    outputs = predict(task, result.model, task.encode(bare, setting.processor, setting.schema))
    said = task.decode([one.id for one in bare], outputs, setting.schema, calibration)
    trained = scores(Judged(parts["test"], said, outputs, setting.schema, calibration), *METRICS)
    small = scores(answered(setting, folder, "onnx-int8", parts["test"], calibration), *METRICS)
    row = {"data": name, "seed": seed, "train": len(parts["train"]), "s": seconds}
    row |= {one: 100 * trained[one] for one in SHOWN if one in trained}
    row |= {"int8 joint": 100 * small["joint_accuracy"], "int8 ms": _milliseconds(folder, [one.inputs["text"] for one in bare[:100]])}
    if name == "questions":
        row |= {"three": float(_three(folder)), "three ms": _milliseconds(folder, [QUESTION] * 50)}
    print(row, flush=True)
    return row


def _calibration(setting: Setting, outputs: dict[str, Any], examples: Sequence[Example]) -> dict[str, Any]:
    """What the evaluate stage would fit on the validation rows, less the temperature of the intents."""
    from luthier.core.plan import EvaluatePlan
    from luthier.stages.evaluate.calibrate import energy_quantiles, thresholds

    def judged(calibration: dict[str, Any]) -> Judged:
        said = setting.task.decode([one.id for one in examples], outputs, setting.schema, calibration)
        return Judged(list(examples), said, outputs, setting.schema, calibration)

    found: dict[str, Any] = {"thresholds": thresholds(judged({}))} if setting.schema["multi_label"] else {}
    found["energy_quantiles"] = energy_quantiles(outputs["logits"])
    return found | setting.task.calibrate(judged(found), EvaluatePlan())  # type: ignore[attr-defined]


def _milliseconds(folder: Path, texts: Sequence[str]) -> float:
    """Median time of one message through an endpoint with one worker: masking, encoding, the int8 graph, decoding."""
    from luthier.stages.serve.engine import Endpoint

    endpoint = Endpoint.open(folder, threads=1)
    try:
        for text in texts[:5]:
            endpoint.predict_now(endpoint.task.request({"text": text}))
        times = []
        for text in texts:
            start = time.perf_counter()
            endpoint.predict_now(endpoint.task.request({"text": text}))
            times.append(1e3 * (time.perf_counter() - start))
    finally:
        endpoint.close()
    return statistics.median(times)


def _three(folder: Path) -> bool:
    """Whether the deployed model finds the three questions of one message, each where it stands (words in common: three in four)."""
    from luthier.stages.serve.engine import Endpoint

    endpoint = Endpoint.open(folder, threads=1)
    try:
        (one,) = endpoint.predict_now(endpoint.task.request({"text": QUESTION}))
    finally:
        endpoint.close()
    said = {part["label"]: QUESTION[part["start"] : part["end"]] for part in endpoint.task.answer(one.prediction)["intents"]}
    print(said, flush=True)
    return said.keys() == ASKED.keys() and all(_alike(said[label], text) for label, text in ASKED.items())


def _alike(some: str, other: str) -> bool:
    one, two = set(some.split()), set(other.split())
    return len(one & two) / len(one | two) >= 0.75


def bars_of(rows: list[dict[str, Any]], quick: bool) -> dict[str, bool]:
    """What must hold, as the mean of the seeds; in a quick try only that something was learned."""
    bars = {}
    for (name, score), least in BARS.items():
        found = [row[score] for row in rows if row["data"] == name]
        if found:
            wanted = 0.0 if quick else least
            bars[f"{name}: {score} {statistics.fmean(found):.2f} >= {wanted:.1f}"] = statistics.fmean(found) >= wanted
    for row in rows:
        bars[f"{row['data']}: int8 {row['int8 ms']:.1f} ms a message <= {MOST_MS:.0f}"] = row["int8 ms"] <= MOST_MS
        if "three" in row:
            bars[f"one message, three questions: three intents where they stand, {row['three ms']:.1f} ms <= {MOST_MS:.0f}"] = quick or (
                bool(row["three"]) and row["three ms"] <= MOST_MS
            )
    return bars


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=list(EPOCHS))
    parser.add_argument("--seeds", default="17", type=lambda text: [int(one) for one in text.split(",")])
    parser.add_argument("--epochs", type=float, default=0.0)
    parser.add_argument("--rows", type=int, default=0)
    args = parser.parse_args()
    if args.quick:
        args.rows = args.rows or 300
    use_environment()
    task: Any = registry.get("tasks", "intent-entities")
    with tempfile.TemporaryDirectory() as folder:
        rows = [tried(task, name, args, seed, Path(folder)) for name in EPOCHS if args.only in (None, name) for seed in args.seeds]
    names = list(dict.fromkeys(key for row in rows for key in row))
    finish("understanding", [{key: row.get(key, "") for key in names} for row in rows], bars_of(rows, args.quick))


if __name__ == "__main__":
    main()
