"""Checkpoints of a training: each a folder that appears whole or not at all, with the hash of every file in it; no pickles.

``step-00000120/``: ``state.safetensors`` (weights, moments, running average), ``progress.json`` and ``manifest.json``. ``best-00000100/``
holds the weights of the best
validation so far. The newest two and the best that they name are kept.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.core.errors import Damaged
from luthier.core.events import CheckpointRefused, CheckpointWritten
from luthier.core.ports import Emit
from luthier.store import files

KEPT = 2


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds. ``progress`` is JSON; ``state`` and ``best`` are torch tensors by name (``best`` empty when there is
    none)."""

    step: int
    progress: dict[str, Any]
    state: dict[str, Any]
    best: dict[str, Any]


class Checkpoints:
    """The checkpoints of one training, identified by ``fingerprint``, in one folder."""

    def __init__(self, folder: Path, fingerprint: str, emit: Emit) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self.emit = emit
        folder.mkdir(parents=True, exist_ok=True)
        files.sweep(folder)

    def write(self, step: int, state: dict[str, Any], progress: dict[str, Any]) -> None:
        """Writes a checkpoint and removes what is no longer needed."""
        start = time.perf_counter()
        place = self.folder / f"step-{step:08d}"
        self._put(place, "state.safetensors", state, {**progress, "step": step, "fingerprint": self.fingerprint})
        self._prune()
        self.emit(CheckpointWritten(step=step, path=str(place), seconds=time.perf_counter() - start))

    def write_best(self, step: int, weights: dict[str, Any]) -> None:
        """Writes the best weights so far; the checkpoint that follows names them by ``best_step``."""
        self._put(self.folder / f"best-{step:08d}", "weights.safetensors", weights, {"fingerprint": self.fingerprint})

    def _put(self, place: Path, name: str, tensors: dict[str, Any], progress: dict[str, Any]) -> None:
        from safetensors.torch import save_file

        if place.exists():
            self._remove(place)
        with files.folder_aside(place) as aside:
            save_file({key: value.contiguous() for key, value in tensors.items()}, aside / name)
            files.write_json(aside / "progress.json", progress)
            files.write_json(aside / "manifest.json", {"files": files.manifest(aside)})

    def newest(self) -> Saved | None:
        """The newest whole checkpoint; each damaged one is passed over with ``CheckpointRefused``. ``None``: start from the beginning."""
        for place in sorted(self.folder.glob("step-*"), reverse=True):
            try:
                return self._read(place)
            except Damaged as error:
                self.emit(CheckpointRefused(path=str(place), reason=error.message))
                self._remove(place)
        return None

    def _read(self, place: Path) -> Saved:
        with _damaged(place):
            progress = self._whole(place)
            step, best_step = int(progress["step"]), int(progress["best_step"])
        best: dict[str, Any] = {}
        if best_step:
            chosen = self.folder / f"best-{best_step:08d}"
            with _damaged(chosen):
                self._whole(chosen)
            best = _load(chosen / "weights.safetensors")
        return Saved(step, progress, _load(place / "state.safetensors"), best)

    def _whole(self, place: Path) -> dict[str, Any]:
        wrong = files.check_manifest(place, files.read_json(place / "manifest.json")["files"])
        if wrong:
            raise Damaged(f"{place}: {wrong}", "the checkpoint before it is used")
        progress: dict[str, Any] = files.read_json(place / "progress.json")
        if progress["fingerprint"] != self.fingerprint:
            raise Damaged(f"{place}: belongs to another training", "remove the work folder")
        return progress

    def _prune(self) -> None:
        steps = sorted(self.folder.glob("step-*"), reverse=True)
        for place in steps[KEPT:]:
            self._remove(place)
        needed = {f"best-{self._best_step(place):08d}" for place in steps[:KEPT]}
        for place in self.folder.glob("best-*"):
            if place.name not in needed:
                self._remove(place)

    @staticmethod
    def _best_step(place: Path) -> int:
        """The best validation that a checkpoint names; 0 when it names none or cannot be read."""
        try:
            return int(files.read_json(place / "progress.json")["best_step"])
        except (Damaged, KeyError, TypeError, ValueError):
            return 0

    def _remove(self, place: Path) -> None:
        """Out of the way first, so that a kill in the middle leaves nothing that looks like a checkpoint."""
        aside = files.aside_of(place)
        place.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def _damaged(place: Path) -> Iterator[None]:
    """JSON that is whole but lacks what belongs in it is as damaged as a torn one."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"{place}: not as a checkpoint is written: {error!r}", "the checkpoint before it is used") from None


def _load(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    tensors: dict[str, Any] = load_file(path)
    return tensors
