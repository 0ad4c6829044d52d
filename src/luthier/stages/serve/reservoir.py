"""The newest answers' embeddings and figures, kept in memory and written now and then, so that watch can look for drift."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.types import Arrays, names_in
from luthier.stages.serve.engine import Answered
from luthier.store import files

SIZE = 1000
"""Answers that are remembered for each endpoint (384 half floats each: under 1 MB)."""


def sample_path(folder: Path, endpoint: str) -> Path:
    """Where an endpoint's sample lies."""
    return folder / f"{endpoint}.npz"


class Reservoir:
    """A ring of the newest ``SIZE`` answers, written as ``embedding`` [n,H] float16 and ``confidence``, ``out_of_scope``, ``tokens``,
    ``at`` and ``label``, [n] each, and ``export``, whose answers they are.
    """

    def __init__(self, path: Path, export_id: str = "") -> None:
        self.path = path
        self.export_id = export_id
        self._lock = threading.Lock()
        self._rows: list[tuple[Any, float, float, int, float, str]] = []
        self._next = 0
        self._changed = False

    def add(self, answers: Sequence[Answered], outputs: Arrays) -> None:
        """A batch's answers and graph outputs."""
        vectors = outputs.get("embedding")
        vectors = np.zeros((len(answers), 0), np.float16) if vectors is None else vectors.astype(np.float16)
        now = time.time()
        with self._lock:
            for one, vector in zip(answers, vectors, strict=True):
                said = one.prediction
                row = (vector, said.confidence, said.out_of_scope, one.tokens, now, label_of(said.output))
                if len(self._rows) < SIZE:
                    self._rows.append(row)
                else:
                    self._rows[self._next] = row
                    self._next = (self._next + 1) % SIZE
            self._changed = True

    def write(self) -> None:
        """Writes the sample whole, if it changed since the last time."""
        with self._lock:
            rows, changed, self._changed = list(self._rows), self._changed, False
        if not changed:
            return
        vectors, confidence, odd, tokens, at, labels = zip(*rows, strict=True)
        with files.written_aside(self.path) as aside, aside.open("wb") as handle:
            np.savez(
                handle,
                embedding=np.stack(vectors),
                confidence=np.array(confidence, np.float32),
                out_of_scope=np.array(odd, np.float32),
                tokens=np.array(tokens, np.int32),
                at=np.array(at, np.float64),
                label=np.array(labels, np.str_),
                export=np.array(self.export_id, np.str_),
            )


def label_of(output: Any) -> str:
    """An output as one word for counting: several labels are joined in order."""
    return output if isinstance(output, str) else "|".join(sorted(names_in(output)))
