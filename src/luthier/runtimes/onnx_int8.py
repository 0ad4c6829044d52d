"""ONNX with 8-bit weights and 8-bit arithmetic (dynamic quantisation), made and run by ONNX Runtime."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from luthier.core.ports import Graph, Session
from luthier.core.types import Arrays
from luthier.runtimes import _onnxruntime
from luthier.store import files


class OnnxInt8:
    """Signed weights, one scale a channel, the full range of 8 bits: what processors with VNNI multiply fastest and most exactly.

    (Unsigned weights run at half the speed there; ``reduce_range`` is for processors without VNNI.) Only products with weights are
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
        from onnxruntime.quantization import QuantType, quantize_dynamic

        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            for graph in graphs:
                with files.written_aside(folder / f"{graph.name}{self.suffix}") as aside:
                    quantize_dynamic(
                        source / f"{graph.name}.onnx",
                        aside,
                        weight_type=QuantType.QInt8,
                        per_channel=True,
                        reduce_range=False,
                        op_types_to_quantize=["MatMul"],
                        extra_options={"DefaultTensorType": 1, "MatMulConstBOnly": True},
                    )
        finally:
            logging.disable(before)

    def open(self, folder: Path, graph: str, *, threads: int = 1) -> Session:
        """Ready to run."""
        return _onnxruntime.open_graph(folder / f"{graph}{self.suffix}", threads=threads)


plugin = OnnxInt8()
