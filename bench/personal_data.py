"""Personal data: what patterns find alone, and what patterns and a model that Luthier trained find together, on templates not seen.

    python bench/personal_data.py [--quick] [--epochs 2] [--copies 2] [--made 3500] [--span-recall 0.995] [--keep FOLDER] [--validation]
    python bench/personal_data.py --folds 3 [--folds-only]

Sentences of microsoft/presidio-research with their labelled spans, split by template (60 : 15 : 25): no template on both sides. The model
also learns from copies of its training templates with other values and from made sentences (``personal_rows.py``). Addresses count as
places, for the model and for the patterns: the sentences label a town as the one or the other by template.

``masked``: the share of labelled spans of which no character but white space is left, whatever kind it was taken for: what masking is for,
and the bar. ``recall``: the same, masked as the right kind alone. ``precision``: the share of what was found of a kind that touches a
labelled span of the kind. ``--validation``: judge on the validation templates, for trying settings; the test templates are for the end.

``--folds``: how much "outside" is held back is chosen over all training and validation templates, each answered by a model that never saw
it (the least with which every kind is masked in ``LEAST_IN_FOLDS`` of its spans); the model that is judged learns from all of them.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from luthier.core import registry
from luthier.core.personal_data import Span
from luthier.core.types import Example
from personal_rows import by_template, made, merged, splits, varied
from real_data import finish
from spans import export
from trying import Setting, plan_of, use_environment

SEEN_BY_PATTERNS = ("EMAIL", "URL", "IBAN", "CARD", "SSN", "IP", "PHONE")
NAMED = ("NAME", "PLACE", "ORGANISATION")
LEAST_MASKED, MOST_BY_PATTERNS = 0.90, 0.20
LEAST_IN_FOLDS = 0.97
PENALTIES = (0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)


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
    """The finder's model, exported to a folder; without validation rows the last weights are kept."""
    task: Any = registry.get("tasks", "token-classification")
    learning = merged(task, [*parts["train"], *varied(task, parts["train"], args.copies), *made(task, args.made, args.support)])
    changes = {"epochs": args.epochs, "learning_rate": args.learning_rate, "head_learning_rate": 2e-3, "fitted_head": False, "patience": 4}
    if not parts["validation"]:
        changes["patience"] = 0
    plan = plan_of("full", "standard", threads=1, precision="fp32", **changes)
    setting = Setting(learning, parts["test"], parts["validation"], task=task, plan=plan)
    result, seconds = setting.fit(plan, 17, folder)
    value = "" if result.best_metric is None else f": validation {result.metric} {result.best_metric:.4f}"
    print(f"trained on {len(learning)} rows in {seconds:.0f} s{value}", flush=True)
    export(setting, result.model, folder / "finder", {})


def calibrated(folder: Path, validation: list[Example], recall: float) -> None:
    """Writes the finder's calibration: what the exported graph says of the validation templates."""
    from luthier.core.plan import EvaluatePlan
    from luthier.core.ports import Judged
    from luthier.stages.export.parity import run_items
    from luthier.stages.prepare.finder import Finder
    from luthier.store import files

    finder = Finder(folder)
    bare = [Example(one.id, one.inputs) for one in validation]
    outputs = run_items(finder.task, finder.session, finder.task.encode(bare, finder.processor, finder.schema))
    said = finder.task.decode([one.id for one in validation], outputs, finder.schema, {})
    calibration = finder.task.calibrate(Judged(validation, said, outputs, finder.schema), EvaluatePlan(span_recall=recall))
    files.write_json(folder / "calibration.json", calibration)
    print(f"calibration {calibration}", flush=True)


def held_back(args: argparse.Namespace, known: list[Example], folder: Path) -> float:
    """How much "outside" is held back: see ``--folds``. Prints what every amount gives."""
    from luthier.core.plan import PreparePlan
    from luthier.stages.prepare.masking import Masker
    from luthier.store import files

    task: Any = registry.get("tasks", "token-classification")
    parts, where = by_template(known, args.folds), {}
    for number, part in enumerate(parts):
        place = folder / f"fold-{number}"
        if not (place / "finder" / "export.json").exists():
            rest = [one for other, rows in enumerate(parts) if other != number for one in rows]
            trained(args, {"train": rest, "validation": [], "test": part}, place)
        where |= {one.inputs["text"]: number for one in part}
    asked, chosen = merged(task, known), PENALTIES[-1]
    for penalty in reversed(PENALTIES):
        maskers = []
        for number in range(args.folds):
            place = folder / f"fold-{number}" / "finder"
            files.write_json(place / "calibration.json", {"tag_temperature": 1.0, "outside_penalty": penalty})
            maskers.append(Masker(PreparePlan(mask_patterns={}, ner_model=str(place))))
        found = judged(lambda text, maskers=maskers: maskers[where[text]].find(text), asked)  # type: ignore[misc]
        said = {kind: {name: round(100 * found[kind][name], 1) for name in ("masked", "recall", "precision")} for kind in NAMED}
        print(f"folds, outside held back by {penalty}: {said}", flush=True)
        if all(found[kind]["masked"] >= LEAST_IN_FOLDS for kind in NAMED):
            chosen = penalty
    print(f"chosen: {chosen}", flush=True)
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--copies", type=int, default=2)
    parser.add_argument("--made", type=int, default=3500)
    parser.add_argument("--support", type=int, default=300)
    parser.add_argument("--span-recall", type=float, default=0.995, help="words of spans that must be found on validation templates")
    parser.add_argument(
        "--keep", default="", metavar="FOLDER", help="where the model is kept; one that is there is judged, not trained anew"
    )
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--folds", type=int, default=0)
    parser.add_argument("--folds-only", action="store_true", help="end before the test templates are judged")
    args = parser.parse_args()
    if args.quick:
        args.epochs, args.copies, args.made, args.support = 1, 0, 0, 0
    use_environment()
    from luthier.core.plan import PreparePlan
    from luthier.stages.prepare.masking import Masker
    from luthier.store import files

    task: Any = registry.get("tasks", "token-classification")
    parts = splits(task, 300 if args.quick else 0)
    parts |= {name: merged(task, parts[name]) for name in ("validation", "test")}
    asked = parts["validation" if args.validation else "test"]
    with tempfile.TemporaryDirectory() as own:
        folder = args.keep or own
        if args.folds:
            known = [*splits(task, 300 if args.quick else 0)["train"], *splits(task, 300 if args.quick else 0)["validation"]]
            penalty = held_back(args, known, Path(folder))
            parts |= {"train": known, "validation": []}
            if args.folds_only:
                return
        if not (Path(folder) / "finder" / "export.json").exists():
            trained(args, parts, Path(folder))
        if args.folds:
            files.write_json(Path(folder) / "finder" / "calibration.json", {"tag_temperature": 1.0, "outside_penalty": penalty})
        else:
            calibrated(Path(folder) / "finder", parts["validation"], args.span_recall)
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
        for kind in (*NAMED, *SEEN_BY_PATTERNS)
        if both.get(kind, none)["spans"]
    ]
    finish("personal-data", rows, bars_of(rows, args.quick), judged_on="validation" if args.validation else "test")


def bars_of(rows: list[dict[str, Any]], quick: bool) -> dict[str, bool]:
    """What must hold of kinds that patterns cannot see, and of those that they can."""
    bars = {}
    for row in rows:
        kind, masked, before = row["kind"], row["masked both"], row["masked patterns"]
        if kind in NAMED:
            least, most = 0.0 if quick else 100 * LEAST_MASKED, 100 * MOST_BY_PATTERNS
            bar = f"{kind}: masked {masked:.1f} >= {least:.0f} (as such {row['recall both']:.1f}), patterns {before:.1f} < {most:.0f}"
            bars[bar] = masked >= least and before < most
        elif kind in SEEN_BY_PATTERNS:
            recall, alone = row["recall both"], row["recall patterns"]
            bars[f"{kind}: recall {recall:.1f} together >= {alone:.1f} by patterns alone"] = recall >= alone
    return bars


if __name__ == "__main__":
    main()
