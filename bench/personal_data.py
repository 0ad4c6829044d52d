"""Personal data: what patterns find alone, and what patterns and a model that Luthier trained find together, on templates not seen.

    python bench/personal_data.py [--quick] [--epochs 12] [--made 1200] [--learning-rate 3e-4] [--validation]

Sentences of microsoft/presidio-research with their labelled spans, split by template (60 : 15 : 25): no template on both sides. The model
also learns from made support messages. A span is found when all of its characters (but white space at most) are masked as its kind; it is
masked when they are, as whatever kind. ``--validation``: judge on the validation templates, for trying settings.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core import registry
from luthier.core.personal_data import Span
from luthier.core.types import Example, Place
from real_data import FOLDER, finish
from spans import export, jsonl
from trying import Setting, plan_of, use_environment

SEEN_BY_PATTERNS = ("EMAIL", "URL", "IBAN", "CARD", "SSN", "IP", "PHONE")
NAMED = ("NAME", "PLACE", "ORGANISATION")
LEAST_RECALL, MOST_BY_PATTERNS = 0.90, 0.20
MADE = {
    "person": "NAME",
    "city": "PLACE",
    "address": "ADDRESS",
    "email": "EMAIL",
    "phone": "PHONE",
    "card": "CARD",
    "iban": "IBAN",
    "ip": "IP",
}


def splits(task: Any, rows: int = 0) -> dict[str, list[Example]]:
    """Train, validation and test, each with templates of its own."""
    from luthier.stages.prepare.finder import kind_of

    table = list(jsonl(FOLDER / "pii" / "labelled.jsonl.gz"))[: rows or None]
    templates = sorted({row["template"] for row in table})
    order = np.random.default_rng(13).permutation(templates).tolist()
    rank = {template: place / len(order) for place, template in enumerate(order)}
    found: dict[str, list[Example]] = {"train": [], "validation": [], "test": []}
    for line, row in enumerate(table, 1):
        at = rank[row["template"]]
        entities = [{**one, "label": kind_of(one["label"])} for one in row["entities"]]
        example = task.example({"text": row["text"], "entities": entities}, Place("labelled.jsonl", line))
        found["train" if at < 0.6 else "validation" if at < 0.75 else "test"].append(example)
    return found


def made_rows(task: Any, count: int) -> list[Example]:
    """Made support messages with the kinds that are personal data."""
    from luthier.catalog.made import make

    rows = make("support-messages", count, 7) if count else ()
    return [
        task.example(
            {"text": row["text"], "entities": [{**one, "label": MADE[one["kind"]]} for one in row["entities"] if one["kind"] in MADE]},
            Place("support-messages", line),
        )
        for line, row in enumerate(rows, 1)
    ]


def judged(find: Callable[[str], Sequence[Span]], examples: Sequence[Example]) -> dict[str, dict[str, float]]:
    """For each kind: labelled spans, the share found, the share masked as anything, the share of what was found that is right."""
    counts: dict[str, list[float]] = {}
    for example in examples:
        text, spans = example.inputs["text"], list(find(example.inputs["text"]))
        wanted = [Span(one["start"], one["end"], one["label"]) for one in example.target["entities"]]
        for one in wanted:
            row = counts.setdefault(one.kind, [0, 0, 0, 0, 0])
            row[0] += 1
            row[1] += _covered(text, one, [span for span in spans if span.kind == one.kind])
            row[2] += _covered(text, one, spans)
        for span in spans:
            row = counts.setdefault(span.kind, [0, 0, 0, 0, 0])
            row[3] += 1
            row[4] += any(one.kind == span.kind and one.start < span.end and one.end > span.start for one in wanted)
    return {
        kind: {"spans": row[0], "recall": row[1] / max(row[0], 1), "masked": row[2] / max(row[0], 1), "precision": row[4] / max(row[3], 1)}
        for kind, row in counts.items()
    }


def _covered(text: str, wanted: Span, spans: Sequence[Span]) -> bool:
    places = {place for span in spans for place in range(span.start, span.end)}
    return all(place in places or text[place].isspace() for place in range(wanted.start, wanted.end))


def trained(args: argparse.Namespace, parts: dict[str, list[Example]], folder: Path) -> None:
    """The finder's model, exported to a folder."""
    from luthier.core.plan import EvaluatePlan
    from luthier.core.ports import Judged
    from luthier.stages.inference import predict

    task: Any = registry.get("tasks", "token-classification")
    learning = [*parts["train"], *made_rows(task, args.made)]
    changes = {"epochs": args.epochs, "learning_rate": args.learning_rate, "head_learning_rate": 2e-3, "fitted_head": False, "patience": 4}
    plan = plan_of("full", "standard", threads=1, precision="fp32", **changes)
    setting = Setting(learning, parts["test"], parts["validation"], task=task, plan=plan)
    result, seconds = setting.fit(plan, 17, folder)
    outputs = predict(task, result.model, setting.validation)
    said = task.decode([one.id for one in parts["validation"]], outputs, setting.schema, {})
    calibration = task.calibrate(Judged(parts["validation"], said, outputs, setting.schema), EvaluatePlan())
    print(f"trained on {len(learning)} rows in {seconds:.0f} s: validation {result.metric} {result.best_metric:.4f}", flush=True)
    export(setting, result.model, folder / "finder", calibration)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--epochs", type=float, default=12)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--made", type=int, default=1200)
    parser.add_argument("--validation", action="store_true")
    args = parser.parse_args()
    if args.quick:
        args.epochs, args.made = 1, 0
    use_environment()
    from luthier.core.plan import PreparePlan
    from luthier.stages.prepare.masking import Masker

    task: Any = registry.get("tasks", "token-classification")
    parts = splits(task, 300 if args.quick else 0)
    asked = parts["validation" if args.validation else "test"]
    with tempfile.TemporaryDirectory() as folder:
        trained(args, parts, Path(folder))
        alone = judged(Masker(PreparePlan(mask_patterns={})).find, asked)
        both = judged(Masker(PreparePlan(mask_patterns={}, ner_model=str(Path(folder) / "finder"))).find, asked)
    none = {"spans": 0.0, "recall": 0.0, "masked": 0.0, "precision": 0.0}
    rows = [
        {"kind": kind, "spans": int(both.get(kind, none)["spans"])}
        | {
            f"{name} {who}": 100 * found.get(kind, none)[name]
            for name in ("recall", "masked", "precision")
            for who, found in (("patterns", alone), ("both", both))
        }
        for kind in (*NAMED, "ADDRESS", *SEEN_BY_PATTERNS)
        if both.get(kind, none)["spans"]
    ]
    finish("personal-data", rows, bars_of(rows, args.quick), judged_on="validation" if args.validation else "test")


def bars_of(rows: list[dict[str, Any]], quick: bool) -> dict[str, bool]:
    """What must hold of kinds that patterns cannot see, and of those that they can."""
    bars = {}
    for row in rows:
        kind, recall, before = row["kind"], row["recall both"], row["recall patterns"]
        if kind in NAMED:
            least = 0.0 if quick else 100 * LEAST_RECALL
            bars[f"{kind}: recall {recall:.1f} >= {least:.0f}, patterns alone {before:.1f} < {100 * MOST_BY_PATTERNS:.0f}"] = (
                recall >= least and before < 100 * MOST_BY_PATTERNS
            )
        elif kind in SEEN_BY_PATTERNS:
            bars[f"{kind}: recall {recall:.1f} together >= {before:.1f} by patterns alone"] = recall >= before
    return bars


if __name__ == "__main__":
    main()
