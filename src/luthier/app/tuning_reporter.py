"""Turns what stages say into what a job's owner reads: events in OpenAI's words, and checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from luthier.app.checkpoints import Checkpoints
from luthier.app.tuning_results import metrics
from luthier.app.tuning_spec import KEPT_CHECKPOINTS
from luthier.core.events import CheckpointKept, Event, NoteSaid, PredictionMade, StageFinished, StageProgressed, StepFinished
from luthier.core.types import Artifact

EVERY_S = 2.0
"""Least seconds between two events about training steps."""

Say = Callable[..., None]


class Reporter:
    """Takes the events of one job's stages. ``say(message, data, level=, type=)`` adds an event to the job."""

    def __init__(self, job: str, name: str, checkpoints: Checkpoints, say: Say, change: Callable[..., Any]) -> None:
        self.job, self.name, self.checkpoints, self.say, self.change = job, name, checkpoints, say, change
        self.dataset: Artifact | None = None
        self.keep = KEPT_CHECKPOINTS
        self._last = 0.0
        self._loss: float | None = None

    def take(self, event: Event) -> None:
        """One event of a stage."""
        if isinstance(event, StageProgressed) and event.stage == "train" and event.phase == "train":
            self._progress(event)
        elif isinstance(event, StepFinished):
            self._validation(event)
        elif isinstance(event, CheckpointKept):
            self._kept(event)
        elif isinstance(event, PredictionMade) and event.stage == "train":
            self.change(estimated_finish=time.time() + event.wall_s)
        elif isinstance(event, NoteSaid) and event.level != "info":
            self.say(event.text, level="warn" if event.level == "warning" else "error")
        elif isinstance(event, StageFinished) and event.stage != "evaluate":
            self.say(f"{event.stage.capitalize()} finished in {event.seconds:.1f} s", {"stage": event.stage, **_plain(event.summary)})

    def _progress(self, event: StageProgressed) -> None:
        self._loss = event.figures.get("loss", self._loss)
        now = time.monotonic()
        if self._loss is None or (now - self._last < EVERY_S and event.done < event.total):
            return
        self._last = now
        data = {"step": int(event.done), "total_steps": int(event.total), "train_loss": self._loss} | {
            key: value for key, value in event.figures.items() if key != "loss"
        }
        self.say(f"Step {int(event.done)}/{int(event.total)}: training loss={self._loss:.2f}", data, type="metrics")

    def _validation(self, event: StepFinished) -> None:
        measured = metrics(event.figures, self._loss)
        words = ", ".join(f"{name.replace('_', ' ')}={value:.2f}" for name, value in event.figures.items())
        self.say(f"Step {event.step}: {words}", {"step": event.step} | measured, type="metrics")

    def _kept(self, event: CheckpointKept) -> None:
        folder = Path(event.path)
        if self.dataset is None or not folder.is_dir():
            return
        name = f"{self.name}:ckpt-step-{event.step}"
        if self.checkpoints.add(self.job, name, event.step, folder, self.dataset, metrics(event.figures, self._loss), self.keep):
            self.say(f"Checkpoint created at step {event.step}", {"step": event.step, "model": name})


def _plain(summary: dict[str, Any]) -> dict[str, Any]:
    """The short figures of a stage's summary."""
    return {key: value for key, value in summary.items() if isinstance(value, int | float | str) and len(str(value)) < 200}
