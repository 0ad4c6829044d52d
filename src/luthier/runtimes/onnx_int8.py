"""ONNX with 8-bit weights and 8-bit arithmetic (dynamic quantisation), made and run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from luthier.core.ports import Graph, Session
from luthier.core.types import Arrays
from luthier.runtimes import _onnxruntime
from luthier.store import files


class OnnxInt8:
    """Signed weights, one scale a channel; the full range of 8 bits where the processor has VNNI, 7 bits where it has not.

    Unsigned weights run at half the speed on VNNI. Without VNNI, AVX2 adds pairs of products in 16 bits, which overflow from 8-bit
    weights: 7 bits halved the changed answers there (``design/LOG.md``). Only products with weights are
    quantised: attention's products of two activations lose a third of the speed at batch 8 in 8 bits, and the table of word embeddings
    and the small output layer lose exactness without being faster.
    """

    name = "onnx-int8"
    summary = "ONNX Runtime, 8-bit dynamic quantisation"
    suffix = ".int8.onnx"

    def missing(self) -> str:
        """Why it cannot be used ("" when it can)."""
        return _onnxruntime.missing()

    def convert(self, graphs: Sequence[Graph], source: Path, folder: Path, samples: Sequence[Arrays]) -> None:
        """Quantises the fp32 graphs in ``source``; no samples are needed, ranges are taken from each batch as it runs."""
        for graph in graphs:
            with files.written_aside(folder / f"{graph.name}{self.suffix}") as aside:
                _onnxruntime.quantize(source / f"{graph.name}.onnx", aside)

    def open(self, folder: Path, graph: str, *, threads: int = 1) -> Session:
        """Ready to run."""
        return _onnxruntime.open_graph(folder / f"{graph}{self.suffix}", threads=threads)


plugin = OnnxInt8()
