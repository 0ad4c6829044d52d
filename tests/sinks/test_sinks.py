"""Where events go: JSON lines that read back as the events they were, and a terminal that shows progress with time left."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from luthier.core import events as said
from luthier.core import registry
from luthier.core.events import EVENTS, Event, read_event
from luthier.sinks.terminal import duration

# fmt: off
FULL: dict[str, dict[str, Any]] = {
    "run.started": {"run": "try-1", "resumed": True},
    "run.finished": {"run": "try-1", "seconds": 65.2},
    "job.moved": {"job": "1", "stage": "train", "old": "queued", "new": "running", "error": {}},
    "job.reused": {"stage": "train", "artifact": "model-1"},
    "stage.progressed": {"stage": "train", "phase": "train", "done": 3, "total": 10, "unit": "step", "left_s": 70, "figures": {"mfu": 0.4}},
    "step.finished": {"step": 3, "epoch": 0.5, "figures": {"loss": 0.25, "tokens_per_s": 1200.0}},
    "note.said": {"level": "warning", "text": "mind the [gap] and [/close] • – ü", "data": {"a": [1]}},
    "checkpoint.written": {"step": 3, "path": "/w/checkpoints/3", "seconds": 0.1},
    "checkpoint.refused": {"path": "/w/checkpoints/3", "reason": "torn"},
    "prediction.made": {"stage": "train", "wall_s": 61.0, "memory_bytes": 2**30},
    "stage.finished": {"stage": "train", "seconds": 7300.0, "summary": {"rows": 3, "f1": 0.5, "ok": True, "by": {"a": 1}, "list": [1]}},
    "stage.failed": {"stage": "train", "error": {"code": "no_space", "message": "full", "hint": "free some"}},
    "artifact.written": {"artifact": "model-1", "kind": "model", "path": "/w/model-1"},
    "gate.decided": {"gate": "deploy support", "passed": False, "reasons": ["accuracy 0.850 < 0.900 missed"]},
    "endpoint.deployed": {"endpoint": "support", "export": "export-1", "model": "model-1", "forced": True},
    "endpoint.removed": {"endpoint": "support"},
    "traffic.moved": {"endpoint": "support", "traffic": {"v1": 95, "v2": 5}, "mirror": {"v3": 10}, "by": "rollout"},
    "version.removed": {"endpoint": "support", "version": "v1", "export": "export-1"},
    "rollout.moved": {
        "endpoint": "support", "rollout": "r-1", "candidate": "v2", "against": "v1", "old": "running", "new": "promoted", "share": 100,
        "reason": "all rules kept", "findings": [{"rule": "errors", "kept": True}],
    },
    "prediction.mirrored": {"endpoint": "support", "id": "1", "version": "v2", "against": "v1", "same": False, "confidence": 0.5},
    "prediction.answered": {"endpoint": "support", "id": "1", "export": "export-1", "output": ["a"], "confidence": 0.5},
    "prediction.failed": {"endpoint": "support", "code": "invalid_input", "message": "empty"},
    "feedback.given": {"endpoint": "support", "id": "1", "thumbs": "up", "right": "refund", "comment": "ja"},
    "tuning.said": {"job": "ftjob-1", "message": "Fine-tuning job started"},
    "tuning.moved": {"job": "ftjob-1", "old": "running", "new": "succeeded"},
    "checkpoint.kept": {"step": 3, "path": "/w/kept/3", "figures": {"loss": 0.5}},
    "drift.measured": {"endpoint": "support", "window": 100, "figures": {"label": 0.1}, "alarms": ["label"]},
}
# fmt: on
LEAST: dict[str, dict[str, Any]] = {
    "stage.progressed": {"stage": "train", "phase": "read", "done": 0, "total": 0},
    "stage.finished": {"stage": "train", "seconds": 0.0},
    "prediction.made": {"stage": "train", "wall_s": 0.0, "memory_bytes": 0},
    "gate.decided": {"gate": "evaluate", "passed": True},
}


def _all() -> list[Event]:
    return [EVENTS[name](**fields) for name, fields in [*FULL.items(), *LEAST.items()]]


def test_the_examples_here_are_every_event() -> None:
    assert FULL.keys() == EVENTS.keys()


def test_lines_read_back_as_the_events_that_they_were(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    take = registry.get("sinks", "jsonl").open(str(path))
    for event in _all():
        take(event)
        assert path.read_text(encoding="utf-8").endswith("\n"), "a line is flushed whole"
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [read_event(json.loads(line)) for line in lines] == _all_at([json.loads(line)["at"] for line in lines])


def _all_at(times: list[float]) -> list[Event]:
    return [event.model_copy(update={"at": at}) for event, at in zip(_all(), times, strict=True)]


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    for _ in range(2):
        registry.get("sinks", "jsonl").open(str(tmp_path / "events.jsonl"))(said.RunFinished(run="try", seconds=1))
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 2


def test_without_a_file_lines_go_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    registry.get("sinks", "jsonl").open("")(said.NoteSaid(text="grüße"))
    out = capsys.readouterr().out
    assert "grüße" in out
    assert json.loads(out)["event"] == "note.said"


class Screen:
    """The terminal sink on a terminal of 120 columns that is kept as text."""

    def __init__(self) -> None:
        self.take: Callable[[Event], None] = registry.get("sinks", "terminal").open("")
        self.inside = self.take.__self__  # type: ignore[attr-defined]
        self.text = io.StringIO()
        console = Console(file=self.text, force_terminal=True, width=120, color_system=None, legacy_windows=False)
        self.inside.console = console
        self.inside.progress.live.console = console

    def shown(self, event: Event) -> str:
        """What is on the screen's bar after the event, as plain text."""
        self.take(event)
        plain = Console(file=io.StringIO(), width=120, record=True)
        plain.print(self.inside.progress.get_renderable())
        return plain.export_text()


@pytest.fixture
def screen() -> Screen:
    return Screen()


def _progress(done: float, left_s: float | None = None, phase: str = "train", **figures: float) -> Event:
    return said.StageProgressed(stage="train", phase=phase, done=done, total=10, left_s=left_s, figures=figures)


def test_progress_shows_stage_phase_share_figures_and_time_left(screen: Screen) -> None:
    bar = screen.shown(_progress(3, left_s=185, loss=0.51234, tokens_per_s=12345.6, mfu=0.42))
    for part in ("train", "30%", "3 min 05 s left", "loss 0.5123", "12,346 tokens/s", "mfu 42%"):
        assert part in bar, part
    screen.take(said.RunFinished(run="try", seconds=1))


def test_time_left_is_worked_out_when_the_stage_does_not_say_it(screen: Screen) -> None:
    assert "left" not in screen.shown(_progress(0))
    screen.inside.started -= 30
    assert "30.0 s left" in screen.shown(_progress(5))
    screen.take(said.RunFinished(run="try", seconds=1))


def test_a_new_phase_takes_the_place_of_the_old_one(screen: Screen) -> None:
    assert "reading" in screen.shown(_progress(9, phase="reading"))
    bar = screen.shown(_progress(1, phase="writing"))
    assert "writing" in bar
    assert "reading" not in bar
    assert "writing" not in screen.shown(said.StageFinished(stage="train", seconds=1.0))


def test_what_matters_is_said_in_lines(screen: Screen) -> None:
    for event in _all():
        screen.take(event)
    text = screen.text.getvalue()
    for part in (
        "! mind the [gap] and [/close] • – ü",
        "✓ train in 2 h 01 min  rows 3, f1 0.5, ok yes, by (a 1)",
        "expected: 1 min 01 s, 1.0 GiB of memory",
        "epoch 0.5, step 3: loss 0.25  1,200 tokens/s",
        "✗ gate deploy support  accuracy 0.850 < 0.900 missed",
        "✓ train done before: model-1",
        "/w/checkpoints/3 is damaged (torn): the one before it is used",
    ):
        assert part in text, part


@pytest.mark.parametrize("event", _all(), ids=lambda event: event.name)
def test_no_event_is_too_much_for_a_terminal(event: Event) -> None:
    Screen().take(event)
    registry.get("sinks", "terminal").open("")(event)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (4.24, "4.2 s"), (60, "1 min 00 s"), (185, "3 min 05 s"), (3600, "1 h 00 min"), (7800.4, "2 h 10 min")],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("seconds", [float("inf"), float("nan")])
def test_a_time_that_is_not_known_is_said_so(seconds: float) -> None:
    assert duration(seconds) == "unknown"
