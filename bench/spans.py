"""What the benches of spans share: rows of public data as examples, a model trained on them, exported, and opened as serving opens it."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from luthier.core import registry
from luthier.core.ports import Judged, Task
from luthier.core.types import Calibration, Example, Place
from luthier.store import files
from real_data import FOLDER, base_model, needed
from trying import Setting


def snips(task: Task, split: str) -> list[Example]:
    """``train`` (13,784 rows) or ``test`` (700)."""
    rows = jsonl(FOLDER / "snips" / f"{split}.jsonl.gz")
    return [
        task.example({"text": row["text"], "intents": row["intent"], "entities": row["entities"]}, Place(f"snips-{split}", line))
        for line, row in enumerate(rows, 1)
    ]


def support_chat(task: Task, split: str) -> list[Example]:
    """``train`` (6,480 rows), ``dev`` (810) or ``test`` (810), as given; at most one entity a row, by its offsets."""
    path = needed(FOLDER / "support_chat" / f"intents_{split}.csv")
    found = []
    with path.open(encoding="utf-8", newline="") as lines:
        for line, row in enumerate(csv.DictReader(lines), 2):
            place = (
                {"start": int(row["start_offset"]), "end": int(row["end_offset"]), "label": row["entity_type"]}
                if row["entity_type"]
                else {}
            )
            values = {"text": row["utterance"], "intents": row["intent"], "entities": [place] if place else []}
            found.append(task.example(values, Place(path.name, line)))
    return found


def jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a packed JSONL file."""
    with gzip.open(needed(path), "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def export(setting: Setting, model: Any, folder: Path, calibration: Calibration, runtimes: Sequence[str] = ("onnx", "onnx-int8")) -> None:
    """The model's graphs in ``folder``, and what an endpoint needs to open it (with the last of the runtimes)."""
    folder.mkdir(parents=True, exist_ok=True)
    ordered = sorted(setting.train[:200], key=setting.task.length)
    graphs = setting.task.graphs(model, setting.task.collate([ordered[len(ordered) // 2], ordered[-1]]))
    for name in runtimes:
        registry.get("runtimes", name).convert(graphs, folder, folder, [])
    shutil.copyfile(base_model() / "tokenizer.json", folder / "tokenizer.json")
    files.write_json(folder / "schema.json", setting.schema)
    files.write_json(folder / "calibration.json", calibration)
    files.write_json(folder / "export.json", {"task": setting.task.name, "runtime": runtimes[-1], "graph": "model"})


def answered(setting: Setting, folder: Path, runtime: str, examples: Sequence[Example], calibration: Calibration) -> Judged:
    """A graph's answers on rows."""
    from luthier.stages.export.parity import run_items

    bare = [Example(one.id, one.inputs) for one in examples]
    items = setting.task.encode(bare, setting.processor, setting.schema)
    outputs = run_items(setting.task, registry.get("runtimes", runtime).open(folder, "model", threads=1), items)
    said = setting.task.decode([one.id for one in examples], outputs, setting.schema, calibration)
    return Judged(list(examples), said, outputs, setting.schema, calibration)


def scores(judged: Judged, *metrics: str) -> dict[str, float]:
    """Every score of these metrics."""
    return {score.name: score.value for name in metrics for score in registry.get("metrics", name).compute(judged)}
