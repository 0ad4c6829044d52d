"""How an ONNX graph is opened for serving on a CPU, and how its products become 8-bit ones; shared by the runtimes that read ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.errors import Damaged, MissingExtra
from luthier.core.types import Arrays
from luthier.runtimes._quiet import quiet


class OnnxSession:
    """An opened graph. ``run`` may be called from several threads at once; each call computes in its own thread."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.inputs: tuple[str, ...] = tuple(one.name for one in session.get_inputs())
        self.shapes: dict[str, list[Any]] = {one.name: list(one.shape) for one in session.get_inputs()}
        self.outputs: tuple[str, ...] = tuple(one.name for one in session.get_outputs())

    def run(self, batch: Arrays) -> Arrays:
        """Outputs by name for a padded batch; arrays that the graph does not take (``labels``) are left out."""
        found = self._session.run(None, {name: np.ascontiguousarray(batch[name]) for name in self.inputs})
        return dict(zip(self.outputs, found, strict=True))


def missing() -> str:
    """Why ONNX Runtime cannot be used here ("" when it can)."""
    from importlib.util import find_spec

    return "" if find_spec("onnxruntime") else str(MissingExtra("onnxruntime", "serve"))


def open_graph(path: Path, *, threads: int = 1) -> OnnxSession:
    """Opens the graph in a file; raises ``Damaged`` when it is missing or not a graph.

    Threads wait asleep, never spinning: with spinning, two threads beside any other busy process run at half speed and three times the p99.
    """
    import onnxruntime as ort

    if not path.is_file():
        raise Damaged(f"{path}: the graph is missing", "export the model again")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return OnnxSession(ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))
    except Exception as error:
        raise Damaged(f"{path}: not a graph that ONNX Runtime can read: {error}", "export the model again") from error


def quantize(source: Path, target: Path) -> None:
    """The graph with 8-bit weights and 8-bit products, ranges of activations taken from each batch as it runs."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet():
        quantize_dynamic(
            source,
            target,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=not adds_in_32_bits(),
            op_types_to_quantize=["MatMul"],
            extra_options={"DefaultTensorType": 1, "MatMulConstBOnly": True},
        )


def adds_in_32_bits(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether 8-bit products are added without overflow: all but x86 processors without VNNI (unknown ones count as such)."""
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return "avx2" not in flags or "avx512_vnni" in flags or "avx_vnni" in flags
