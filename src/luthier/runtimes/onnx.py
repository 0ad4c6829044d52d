"""ONNX in 32-bit floats, made by transformers' own exporter and run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from luthier.core.ports import Graph, Session
from luthier.core.types import Arrays
from luthier.runtimes import _onnxruntime
from luthier.runtimes._quiet import quiet
from luthier.store import files

LARGE_BYTES = 1_800_000_000
"""A protobuf file ends at 2 GB: heavier weights lie beside the graph."""


class Onnx:
    """See the module."""

    name = "onnx"
    summary = "ONNX Runtime, 32-bit floats"
    suffix = ".onnx"

    def missing(self) -> str:
        """Why it cannot be used ("" when it can)."""
        return _onnxruntime.missing()

    def convert(self, graphs: Sequence[Graph], source: Path, folder: Path, samples: Sequence[Arrays]) -> None:
        """Traces each graph with any batch size and any sequence length; needs torch, which is where the modules come from."""
        for graph in graphs:
            program = trace(graph)
            with files.written_aside(folder / f"{graph.name}{self.suffix}") as aside:
                _save(program, aside, f"{graph.name}{self.suffix}.data")

    def open(self, folder: Path, graph: str, *, threads: int = 1) -> Session:
        """Ready to run."""
        return _onnxruntime.open_graph(folder / f"{graph}{self.suffix}", threads=threads)


def trace(graph: Graph) -> Any:
    """The graph as an ``onnx_ir.Model`` with the inputs' and outputs' own names."""
    import torch
    from transformers.exporters import OnnxExporter
    from transformers.exporters.exporter_onnx import OnnxConfig

    either = torch.export.Dim.DYNAMIC
    config = OnnxConfig(dynamic_shapes={name: {0: either, 1: either} for name in graph.inputs})
    sample = {name: torch.as_tensor(graph.sample[name]) for name in graph.inputs}
    with quiet():
        program = OnnxExporter().export(graph.module.eval(), sample, config=config).program
    _separate_names(program)
    return program


def _separate_names(program: Any) -> None:
    """The exporter names outputs last, and may meet an inner value of that name (``embedding``, of words): that one gives way."""
    outputs = {value.name: value for value in program.graph.outputs}
    for node in program.graph.all_nodes():
        for value in node.outputs:
            if value.name in outputs and outputs[value.name] is not value:
                value.name = f"inner_{value.name}"


def _save(program: Any, path: Path, beside: str) -> None:
    import onnx_ir

    size = sum(value.const_value.nbytes for value in program.graph.initializers.values() if value.const_value is not None)
    onnx_ir.save(program, str(path), external_data=beside if size > LARGE_BYTES else None)


plugin = Onnx()
