"""OpenVINO with static 8-bit quantisation by NNCF: ranges are measured once, on sample batches. An optional extra."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.errors import Damaged, InputError, MissingExtra
from luthier.core.ports import Graph, Session
from luthier.core.types import Arrays
from luthier.runtimes._openvino import no_telemetry
from luthier.store import files


class OpenVinoSession:
    """An opened graph; each thread that calls ``run`` gets its own request."""

    def __init__(self, compiled: Any) -> None:
        import threading

        self._compiled = compiled
        self._own = threading.local()
        self.inputs: tuple[str, ...] = tuple(one.get_any_name() for one in compiled.inputs)
        self.outputs: tuple[str, ...] = tuple(one.get_any_name() for one in compiled.outputs)

    def run(self, batch: Arrays) -> Arrays:
        """Outputs by name for a padded batch."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        found = self._own.request.infer({name: np.ascontiguousarray(batch[name]) for name in self.inputs}, share_outputs=False)
        return {name: found[number] for number, name in enumerate(self.outputs)}


class OpenVinoInt8:
    """See the module."""

    name = "openvino-int8"
    summary = "OpenVINO, 8-bit static quantisation (extra: openvino)"
    suffix = ".openvino.xml"

    def missing(self) -> str:
        """Why it cannot be used ("" when it can)."""
        for library in ("openvino", "nncf"):
            if not find_spec(library):
                error = MissingExtra(library, "openvino")
                return f"{error.message}: {error.hint}"
        return ""

    def convert(self, graphs: Sequence[Graph], source: Path, folder: Path, samples: Sequence[Arrays]) -> None:
        """Quantises the fp32 graphs in ``source`` with ranges seen over ``samples`` (300 rows are plenty; never test rows)."""
        if not samples:
            raise InputError("openvino-int8: there are no sample batches to measure ranges on", "give a dataset with validation rows")
        no_telemetry()
        import nncf
        import openvino

        nncf.set_log_level(logging.ERROR)
        for graph in graphs:
            model = openvino.convert_model(source / f"{graph.name}.onnx")
            data = nncf.Dataset([{name: batch[name] for name in graph.inputs} for batch in samples])
            small = nncf.quantize(model, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(samples))
            with files.folder_aside(folder / f".{graph.name}.openvino") as aside:
                openvino.save_model(small, aside / f"{graph.name}{self.suffix}", compress_to_fp16=False)
            for path in sorted((folder / f".{graph.name}.openvino").iterdir()):
                path.replace(folder / path.name)
            (folder / f".{graph.name}.openvino").rmdir()

    def open(self, folder: Path, graph: str, *, threads: int = 1) -> Session:
        """Ready to run."""
        no_telemetry()
        import openvino

        path = folder / f"{graph}{self.suffix}"
        if not path.is_file():
            raise Damaged(f"{path}: the graph is missing", "export the model again")
        # f32 is forced for what was not quantised: on some processors OpenVINO would choose bf16, which is slower and less exact.
        options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
        return OpenVinoSession(openvino.Core().compile_model(str(path), "CPU", options))


plugin = OpenVinoInt8()
