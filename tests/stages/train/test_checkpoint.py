"""JSON that is whole and lacks what belongs in it is a damaged checkpoint: it is said, and the one before it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.core.events import CheckpointRefused, Event
from luthier.stages.train.checkpoint import Checkpoints
from luthier.store import files


def _written(folder: Path, events: list[Event]) -> tuple[Checkpoints, Path]:
    """Two checkpoints, of steps 1 and 2, and the newer one's folder."""
    kept = Checkpoints(folder, "print", events.append)
    for step in (1, 2):
        kept.write(step, {"weight": torch.full((2,), float(step))}, {"best_step": 0})
    return kept, folder / "step-00000002"


@pytest.mark.parametrize("manifest", [{}, {"files": ["state.safetensors"]}, {"files": {"progress.json": {}}}, [], None])
def test_a_manifest_that_is_none(tmp_path: Path, manifest: Any) -> None:
    events: list[Event] = []
    kept, newest = _written(tmp_path, events)
    files.write_json(newest / "manifest.json", manifest)
    _one_before(kept, newest, events)


@pytest.mark.parametrize("progress", [{}, {"fingerprint": "print", "step": 2}, {"fingerprint": "print", "step": 2, "best_step": "x"}, []])
def test_progress_that_is_none(tmp_path: Path, progress: Any) -> None:
    events: list[Event] = []
    kept, newest = _written(tmp_path, events)
    files.write_json(newest / "progress.json", progress)
    files.write_json(newest / "manifest.json", {"files": files.manifest(newest)})
    _one_before(kept, newest, events)


def _one_before(kept: Checkpoints, newest: Path, events: list[Event]) -> None:
    saved = kept.newest()
    assert saved is not None
    assert (saved.step, saved.state["weight"].tolist()) == (1, [1.0, 1.0])
    assert [event.path for event in events if isinstance(event, CheckpointRefused)] == [str(newest)]
    kept.write(3, {"weight": torch.zeros(2)}, {"best_step": 0})


def test_an_old_one_that_names_no_best_is_still_removed(tmp_path: Path) -> None:
    kept, newest = _written(tmp_path, [])
    files.write_json(newest / "progress.json", {"step": 2})
    kept.write(3, {"weight": torch.zeros(2)}, {"best_step": 0})
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-00000002", "step-00000003"]
