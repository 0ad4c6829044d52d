"""Curves, scores, pictures and the plan for TensorBoard: a folder of logs with a folder for each run. TensorFlow is not needed.

Target: the log folder (``tensorboard --logdir FOLDER`` reads it); empty: ``tensorboard`` in the workspace.
"""

from __future__ import annotations

import importlib
import io
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from luthier.core.errors import MissingExtra
from luthier.core.events import Event
from luthier.sinks._careful import Careful
from luthier.sinks._tracker import Made, State, Tracker, options
from luthier.store import files
from luthier.store.workspace import Workspace

MOST_CLASSES = 60
"""A confusion matrix with more classes cannot be read as a picture."""

_WRITER = "tensorboard.summary.writer.event_file_writer"
_PROTO = "tensorboard.compat.proto"


class _Run:
    """One folder of event files; a run that goes on adds a file."""

    def __init__(self, root: Path, name: str) -> None:
        folder = root / (re.sub(r"[^\w.-]", "_", name)[:120].strip(".") or "run")
        folder.mkdir(parents=True, exist_ok=True)
        self._writer: Any = importlib.import_module(_WRITER).EventFileWriter(str(folder), flush_secs=10)
        self._event: Any = importlib.import_module(f"{_PROTO}.event_pb2").Event
        self._summary: Any = importlib.import_module(f"{_PROTO}.summary_pb2")
        self._plan: dict[str, Any] = {}
        self._facts: dict[str, str] = {}

    def _add(self, values: list[Any], step: int, at: float) -> None:
        self._writer.add_event(self._event(wall_time=at, step=step, summary=self._summary.Summary(value=values)))

    def settings(self, values: dict[str, Any]) -> None:
        """The plan as a table in Markdown."""
        self._plan |= values
        self._text("plan", _table("setting", self._plan))

    def figures(self, values: dict[str, float], step: int, at: float) -> None:
        """Scalars."""
        value = self._summary.Summary.Value
        self._add([value(tag=name, simple_value=number) for name, number in values.items()], step, at)

    def facts(self, values: dict[str, str]) -> None:
        """Artifacts and gates as a table in Markdown."""
        self._facts |= values
        self._text("run", _table("what", self._facts))

    def _text(self, tag: str, text: str) -> None:
        tensor, shape = importlib.import_module(f"{_PROTO}.tensor_pb2"), importlib.import_module(f"{_PROTO}.tensor_shape_pb2")
        data = importlib.import_module("tensorboard.plugins.text.plugin_data_pb2").TextPluginData(version=0)
        meta = self._summary.SummaryMetadata(
            plugin_data=self._summary.SummaryMetadata.PluginData(plugin_name="text", content=data.SerializeToString())
        )
        one = shape.TensorShapeProto(dim=[shape.TensorShapeProto.Dim(size=1)])
        said = tensor.TensorProto(dtype="DT_STRING", string_val=[text.encode("utf-8", "replace")], tensor_shape=one)
        self._add([self._summary.Summary.Value(tag=f"{tag}/text_summary", metadata=meta, tensor=said)], 0, time.time())
        self._writer.flush()

    def artifact(self, made: Made) -> None:
        """The pictures of an evaluation."""
        if made.kind == "evaluation" and (made.folder / "evaluation.json").is_file():
            for name, (png, width, height) in pictures(files.read_json(made.folder / "evaluation.json")).items():
                image = self._summary.Summary.Image(encoded_image_string=png, width=width, height=height, colorspace=3)
                self._add([self._summary.Summary.Value(tag=f"test/{name}", image=image)], 0, time.time())
        self._writer.flush()

    def end(self, state: State) -> None:
        """The run's last word."""
        self.facts({"luthier.state": state})
        self._writer.close()


def pictures(evaluation: Mapping[str, Any]) -> dict[str, tuple[bytes, int, int]]:
    """Name -> (PNG, width, height) of the confusion matrix, the reliability and the curves; ``{}`` without matplotlib."""
    if find_spec("matplotlib") is None:
        return {}
    figures, found = evaluation.get("figures", {}), {}
    confusion, bins = figures.get("confusion") or {}, figures.get("reliability") or []
    if 0 < len(confusion.get("labels", ())) <= MOST_CLASSES:
        found["confusion"] = _png(lambda axes: _matrix(axes, confusion), 4 + 0.22 * len(confusion["labels"]))
    if bins:
        points = ([one["confidence"] for one in bins], [one["accuracy"] for one in bins])
        found["reliability"] = _png(partial(_line, x=points[0], y=points[1], words=("confidence", "share that is right"), mark="o"))
    for name, words in (("roc_curve", ("false positive rate", "true positive rate")), ("pr_curve", ("recall", "precision"))):
        curve = figures.get(name) or {}
        if curve.get("x"):
            found[name] = _png(partial(_line, x=curve["x"], y=curve["y"], words=words))
    return found


def _png(draw: Callable[[Any], None], side: float = 4.5) -> tuple[bytes, int, int]:
    """Drawn without pyplot, whose state all threads share."""
    figure = importlib.import_module("matplotlib.figure").Figure(figsize=(min(side, 14), min(side, 14)), dpi=90, layout="constrained")
    draw(figure.add_subplot())
    data = io.BytesIO()
    figure.savefig(data, format="png")
    width, height = (int(pixels) for pixels in figure.get_size_inches() * figure.dpi)
    return data.getvalue(), width, height


def _matrix(axes: Any, confusion: Mapping[str, Any]) -> None:
    """Shares of each right class, so that rare classes can be seen."""
    counts, labels = confusion["matrix"], [str(one)[:24].replace("$", r"\$") for one in confusion["labels"]]
    axes.imshow([[one / max(sum(row), 1) for one in row] for row in counts], cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7)
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.set_xlabel("answered")
    axes.set_ylabel("right")
    if len(labels) <= 30:
        for right, row in enumerate(counts):
            for answered, count in enumerate(row):
                if count:
                    dark = count > 0.5 * sum(row)
                    axes.text(answered, right, str(count), ha="center", va="center", fontsize=6, color="white" if dark else "black")


def _line(axes: Any, x: list[float], y: list[float], words: tuple[str, str], mark: str = "") -> None:
    axes.plot(x, y, marker=mark or None)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(words[0])
    axes.set_ylabel(words[1])
    axes.grid(alpha=0.3)


def _table(head: str, values: Mapping[str, Any]) -> str:
    rows = (f"| {key} | {str(value).replace('|', chr(92) + '|')} |" for key, value in values.items())
    return "\n".join([f"| {head} | value |", "|---|---|", *(row.replace("\n", " ") for row in rows)])


class TensorBoard:
    """See the module."""

    name = "tensorboard"
    summary = "curves, scores and pictures in a folder that TensorBoard shows (extra: tensorboard)"

    def open(self, target: str) -> Callable[[Event], None]:
        """``target``: the log folder; raises ``InputError`` and ``MissingExtra``."""
        place, _ = options(self.name, target, ())
        if find_spec("tensorboard") is None:
            raise MissingExtra("tensorboard", "tensorboard")
        root = Path(place).absolute() if place else Workspace().home / "tensorboard"
        return Careful(self.name, Tracker(lambda name: _Run(root, name)).take)


plugin = TensorBoard()
