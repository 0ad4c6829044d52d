"""Real public data for the benches, from ``../shared/data`` beside the repository; a bench says so and ends when it is not there."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from pathlib import Path
from typing import Any

from luthier.core import registry
from luthier.core.ports import Task
from luthier.core.types import Example, Place

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT.parent / "shared" / "data"
BASE = "all-minilm-l6-v2"


def base_model() -> Path:
    """The folder of the catalogued base model."""
    from luthier.catalog import cards

    return cards.locate(cards.find(BASE))


def the_task() -> Task:
    """text-classification."""
    task: Task = registry.get("tasks", "text-classification")
    return task


def needed(path: Path) -> Path:
    if not path.exists():
        print(f"skipped: {path} is not here; this bench needs the public data set (see README.md of ../shared/data)")
        sys.exit(0)
    return path


def banking77(split: str, rows: int = 0) -> list[Example]:
    """The official split ``train`` (10,003 rows) or ``test`` (3,080); with ``rows``, every n-th row, so that each class keeps its share."""
    path = needed(FOLDER / "banking77" / f"{split}.csv")
    with path.open(encoding="utf-8", newline="") as lines:
        table = list(csv.DictReader(lines))
    if rows and rows < len(table):
        table = [table[int(at * len(table) / rows)] for at in range(rows)]
    task = the_task()
    return [task.example({"text": row["text"], "label": row["category"]}, Place(path.name, line + 2)) for line, row in enumerate(table)]


def product_reviews(rows: int = 0) -> dict[str, list[Example]]:
    """Title and text to negative (1-2 stars), neutral (3) or positive (4-5); 80/10/10, no item in two splits (seeded)."""
    import numpy as np

    path = needed(FOLDER / "product_reviews" / "reviews.jsonl.gz")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        table = [json.loads(line) for line in lines]
    task, splits = the_task(), {"train": [], "validation": [], "test": []}  # type: ignore[var-annotated]
    items = sorted({row["item"] for row in table})
    place_of = dict(zip(np.random.default_rng(13).permutation(items).tolist(), np.linspace(0, 1, len(items), endpoint=False), strict=True))
    for line, row in enumerate(table[:rows] if rows else table):
        if not (row["text"] or "").strip():
            continue
        label = "negative" if row["rating"] <= 2 else "neutral" if row["rating"] == 3 else "positive"
        text = f"{row['title']}. {row['text']}" if row["title"] else row["text"]
        at = place_of[row["item"]]
        split = "train" if at < 0.8 else "validation" if at < 0.9 else "test"
        splits[split].append(task.example({"text": text, "label": label}, Place(path.name, line + 1)))
    return splits


def table(rows: list[dict[str, Any]]) -> str:
    """Rows of equal keys as aligned text."""
    names = list(rows[0])
    cells = [names, *[[_cell(row[name]) for name in names] for row in rows]]
    widths = [max(len(line[at]) for line in cells) for at in range(len(names))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells)


def _cell(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def finish(name: str, rows: list[dict[str, Any]], bars: dict[str, bool], **more: Any) -> None:
    """Prints table, bars and one line of JSON; exit code 1 when a bar is missed."""
    print(table(rows))
    for bar, held in bars.items():
        print(f"{'held  ' if held else 'MISSED'}  {bar}")
    print(json.dumps({"bench": name, "rows": rows, "bars": bars, **more}))
    sys.exit(0 if all(bars.values()) else 1)


PRODUCTS = FOLDER / "products"


def for_starter(name: str, row: dict[str, Any]) -> bool:
    """Whether a product's photos are what the starter captioner learns from; the other half is for bench/captions.py.

    A product of the shop is its name (in every colour), of the clothes a photo.
    """
    import hashlib

    product = row["text"] if name == "shop" else row["file_name"]
    return hashlib.blake2b(f"{name}/{product}".encode(), digest_size=1).digest()[0] < 128
