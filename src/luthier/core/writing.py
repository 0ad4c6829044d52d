"""What a task that writes adds to the other shapes: what it is asked by, the model that writes, and its texts as arrays.

As arrays, the texts of a model, of its folds and of its baselines travel and are kept as logits are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from luthier.core.ports import Task
from luthier.core.types import Arrays, Schema

WRITTEN = "written"
"""uint8 [rows, bytes]: each text in UTF-8, padded with 0."""
WRITTEN_BYTES = "written_bytes"
"""int64 [rows]: how long each text is; -1 where none was asked for."""


def as_arrays(texts: Sequence[str | None]) -> Arrays:
    """``WRITTEN`` and ``WRITTEN_BYTES`` of a text a row, ``None`` for a row that nothing was written for."""
    import numpy as np

    encoded = [b"" if text is None else text.encode("utf-8", "replace") for text in texts]
    written = np.zeros((len(texts), max(map(len, encoded), default=0)), dtype=np.uint8)
    for row, one in enumerate(encoded):
        written[row, : len(one)] = np.frombuffer(one, dtype=np.uint8)
    sizes = [-1 if text is None else len(one) for text, one in zip(texts, encoded, strict=True)]
    return {WRITTEN: written, WRITTEN_BYTES: np.array(sizes, dtype=np.int64)}


def texts_in(outputs: Arrays, rows: int) -> list[str | None]:
    """The texts among the outputs for ``rows`` rows; all ``None`` where there are none."""
    if WRITTEN not in outputs:
        return [None] * rows
    pairs = zip(outputs[WRITTEN], outputs[WRITTEN_BYTES].reshape(-1), strict=True)
    return [None if size < 0 else line[:size].tobytes().decode("utf-8", "replace") for line, size in pairs]


def writes(task: Task) -> bool:
    """``writes``: whether the task's answers are texts that a model generates."""
    return bool(getattr(task, "writes", False))


def stops_of(task: Task, processor: Any, schema: Schema) -> tuple[int, ...]:
    """``stops(processor, schema)``: the tokens that end what a writing task writes."""
    own = getattr(task, "stops", None)
    return tuple(own(processor, schema)) if own else ()


def most_new_tokens(task: Task, schema: Schema) -> int:
    """``most_new_tokens(schema)``: how long an answer may become, in tokens."""
    own = getattr(task, "most_new_tokens", None)
    return int(own(schema)) if own else 256


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn. ``temperature`` 0: always the likeliest; ``top_k`` 0: all; ``stop_ids`` end the text and are not in it.

    ``json_schema``: what is written must be JSON of this schema ("" : anything).
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0
    stop_ids: tuple[int, ...] = ()
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    json_schema: str = ""


class Wrote(NamedTuple):
    """New tokens of one answer, in order, with their log probabilities where the runtime knows them ([] else).

    ``finish`` is "" while there is more to come, then ``stop``, ``length``, ``cancelled`` or ``error`` (then ``error`` says what).
    """

    ids: list[int]
    logprobs: list[float]
    finish: str = ""
    error: str = ""


class Writer(Protocol):
    """An opened model that writes for many at once: who comes later joins in without waiting for the others to end."""

    def write(self, prompt: Sequence[int], sampling: Sampling, tell: Callable[[Wrote], bool], beside: Arrays | None = None) -> None:
        """Queues a request and returns. ``beside``: arrays that belong to the prompt (``hooks.beside``), of a model that takes any.

        ``tell`` is called from the writer's own thread; its ``False`` means that nobody listens any more,
        which ends the request. The last call has a ``finish``, and nothing comes after it.
        """

    def close(self) -> None:
        """Ends what is being written (``cancelled``) and frees the model."""


class WritingRuntime(Protocol):
    """What runs an exported model that writes; in the same room as ``Runtime``, told apart by ``writes``."""

    name: str
    summary: str
    writes: bool
    precisions: tuple[int, ...]
    """Bits a weight that it offers, e.g. (32, 8, 4)."""

    def missing(self) -> str:
        """Why it cannot be used here ("" when it can)."""

    def fits(self, config: Mapping[str, Any]) -> str:
        """Why a model of this ``config.json`` cannot run there ("" when it can)."""

    def convert_model(self, model: Path, folder: Path, bits: int) -> None:
        """Makes its files in ``folder`` of a model's (``config.json``, ``model.safetensors``, ``tokenizer.json``)."""

    def open_writer(self, folder: Path, *, threads: int = 0) -> Writer:
        """Ready to write; ``threads`` 0: as many as measured faster here. Raises ``Damaged`` for a folder that is not whole."""
