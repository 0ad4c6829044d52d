"""A runtime that computes nothing: every output is zero. It walks the house in milliseconds; the parity gate refuses to deploy it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from luthier.core.ports import Graph, Session
from luthier.core.types import Arrays
from luthier.store import files


@dataclass(frozen=True)
class ZeroSession:
    """Zeros of the right shapes. ``widths``: length of each output's last axis."""

    widths: dict[str, int]

    def run(self, batch: Arrays) -> Arrays:
        """[rows, width] zeros by output name."""
        rows = len(next(iter(batch.values())))
        return {name: np.zeros((rows, width), dtype=np.float32) for name, width in self.widths.items()}


class Dummy:
    """See the module."""

    name = "dummy"
    summary = "answers zeros; for tests"
    suffix = ".dummy.json"

    def missing(self) -> str:
        """Nothing is."""
        return ""

    def convert(self, graphs: Sequence[Graph], source: Path, folder: Path, samples: Sequence[Arrays]) -> None:
        """Notes how wide each output is, by running the module once."""
        import torch

        for graph in graphs:
            with torch.inference_mode():
                found = graph.module(**{name: torch.as_tensor(graph.sample[name]) for name in graph.inputs})
            files.write_json(folder / f"{graph.name}{self.suffix}", {name: int(found[name].shape[-1]) for name in graph.outputs})

    def open(self, folder: Path, graph: str, *, threads: int = 1) -> Session:
        """Ready to run."""
        return ZeroSession(files.read_json(folder / f"{graph}{self.suffix}"))


plugin = Dummy()
