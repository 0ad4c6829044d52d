"""The events of a small run whose evaluation lies on the disk, as ``luthier run`` emits them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.core import events as said
from luthier.core import registry
from luthier.core.events import Event
from luthier.core.plan import Plan
from luthier.store import files

RUN = "support-1a2b3c4d"
EVALUATION = {
    "scores": {"accuracy": {"value": 0.75, "low": 0.5, "high": 0.875}, "ece": {"value": 0.125}},
    "figures": {
        "confusion": {"labels": ["refund", "parcel $5"], "matrix": [[3, 1], [0, 0]]},
        "reliability": [{"confidence": 0.5, "accuracy": 0.25, "rows": 4}],
        "roc_curve": {"x": [0, 0.5, 1], "y": [0, 0.75, 1]},
    },
}


def plan() -> dict[str, Any]:
    return Plan(name="support", task="text-classification", model="all-minilm-l6-v2").model_dump(mode="json")


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    folder = tmp_path / "artifacts" / "evaluation-1"
    folder.mkdir(parents=True)
    files.write_json(folder / "evaluation.json", EVALUATION)
    files.write_text(folder / "report.html", "<p>report</p>")
    files.write_json(folder / "manifest.json", {"parents": ["model-1"], "plan": plan()})
    return folder


@pytest.fixture
def story(evaluation: Path) -> Callable[..., list[Event]]:
    """A run's events; ``export`` is the folder of an exported model, ``more`` comes before the end."""

    def tell(export: Path | None = None, *more: Event, resumed: bool = False) -> list[Event]:
        progress = said.StageProgressed(stage="train", phase="train", done=5, total=20, figures={"loss": 1.5, "mfu": float("nan")}, at=1000)
        return [
            said.RunStarted(run=RUN, resumed=resumed, plan=plan()),
            said.JobMoved(job="1", stage="train", old="queued", new="running"),
            said.NoteSaid(text="a note"),
            progress,
            said.StepFinished(step=10, epoch=1.0, figures={"accuracy": 0.5, "validation_loss": 1.25}, at=1001),
            said.StepFinished(step=20, epoch=2.0, figures={"accuracy": 0.625, "validation_loss": 1.0}, at=1002),
            said.StageFinished(stage="train", seconds=3.5, summary={"steps": 20, "why": "text", "ok": True, "by": {"größe": 2}}),
            said.ArtifactWritten(artifact="evaluation-1", kind="evaluation", path=str(evaluation)),
            said.GateDecided(gate="evaluate", passed=False, reasons=["accuracy 0.750 < 0.900 missed"]),
            *([said.ArtifactWritten(artifact="export-1", kind="export", path=str(export))] if export else []),
            *more,
            said.RunFinished(run=RUN, seconds=9.0),
        ]

    return tell


@pytest.fixture
def follow() -> Callable[..., list[str]]:
    """Tells a sink a list of events; what it complained of, in order."""

    def tell(name: str, target: str, events: list[Event]) -> list[str]:
        complaints: list[str] = []
        take = registry.get("sinks", name).open(target)
        take.say = complaints.append
        for event in events:
            take(event)
        return complaints

    return tell


@pytest.fixture(autouse=True)
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTHIER_HOME", str(tmp_path / "home"))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_PROJECT", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
