"""Texts to vectors: an encoder opened for embeddings, without torch; its graph is made once by ``encoder_graph``.

A base encoder's folder holds ``model.onnx`` (mean or first-token pooling inside, as the model was trained), ``tokenizer.json`` and
``encoder.json``. A tuned classifier gives its graph's ``embedding``. Vectors have length 1 (L2), as sentence-transformers' MiniLM gives
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from luthier.core import registry
from luthier.core.errors import InputError
from luthier.core.ports import Session, Task
from luthier.core.types import Arrays, Calibration, Example, Item, Prediction, Schema, content_id
from luthier.stages.serve.engine import Endpoint
from luthier.stages.train.threads import cores
from luthier.store import files

TASK = "embedding"
FACTS = "encoder.json"


def text_example(text: str) -> Example:
    """A text to embed; raises ``InputError`` for one that is empty or cannot be written."""
    reader: Task = registry.get("tasks", "text-classification")
    return reader.request({"text": text})[0]


def token_example(ids: Sequence[int]) -> Example:
    """Tokens to embed, as the model's own tokenizer numbers them."""
    inputs = {"ids": list(ids)}
    return Example(content_id(inputs), inputs)


class Embedding:
    """What an ``Endpoint`` asks of a task: texts (or token ids) in, vectors out. It is trained by nobody, so it is no plugin."""

    name = TASK

    def __init__(self) -> None:
        self._reader: Any = registry.get("tasks", "text-classification")

    def text(self, example: Example) -> str:
        """The text ("" for token ids, which nothing can be masked in)."""
        return str(example.inputs.get("text", ""))

    def with_text(self, example: Example, text: str) -> Example:
        """The example with another text."""
        changed: Example = self._reader.with_text(example, text)
        return changed

    def processor(self, folder: Path, schema: Schema) -> Any:
        """The tokenizer, as training uses it."""
        return self._reader.processor(folder, schema)

    def encode(self, examples: Sequence[Example], processor: Any, schema: Schema) -> list[Item]:
        """``input_ids`` [tokens] int64; raises ``InputError`` for a token that the model does not have."""
        items: list[Item] = [{} for _ in examples]
        texts = [number for number, example in enumerate(examples) if "ids" not in example.inputs]
        for number, tokens in zip(texts, processor.encode_batch_fast([self.text(examples[n]) for n in texts]), strict=True):
            items[number] = {"input_ids": np.array(tokens.ids, dtype=np.int64)}
        most, known = int(schema.get("max_tokens", 512)), processor.get_vocab_size()
        for number, example in enumerate(examples):
            if "ids" in example.inputs:
                items[number] = {"input_ids": _ids(example.inputs["ids"], known)[:most]}
        return items

    def length(self, item: Item) -> int:
        """Tokens."""
        return len(item["input_ids"])

    def collate(self, items: Sequence[Item]) -> Arrays:
        """``input_ids`` and ``attention_mask`` [B,S] int64."""
        batch: Arrays = self._reader.collate(items)
        return batch

    def decode(self, ids: Sequence[str], outputs: Arrays, schema: Schema, calibration: Calibration) -> list[Prediction]:
        """Each ``output`` is a vector [hidden] float32 of length 1."""
        if "embedding" not in outputs:
            raise InputError("model: its graph gives no embedding", "ask a base encoder, or a tuned classifier")
        vectors = normalised(np.asarray(outputs["embedding"], dtype=np.float32))
        return [Prediction(id=one, output=vector, confidence=1.0) for one, vector in zip(ids, vectors, strict=True)]


def normalised(vectors: Any) -> Any:
    """The vectors [rows, hidden] with length 1 each (a row of zeros stays)."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _ids(ids: Sequence[int], known: int) -> Any:
    odd = next((one for one in ids if not 0 <= one < known), None)
    if odd is not None:
        raise InputError(
            f"input: token {odd} is none of this model's {known}",
            "send texts: other models number their tokens otherwise (LangChain: check_embedding_ctx_length=False)",
        )
    return np.array(ids, dtype=np.int64)


def open_encoder(folder: Path, *, threads: int = 0) -> Endpoint:
    """Opens a folder that ``encoder_graph`` made; ``threads`` as ``Endpoint.open``."""
    facts = files.read_json(folder / FACTS)
    task = Embedding()
    session = registry.get("runtimes", "onnx").open(folder, "model", threads=1)
    endpoint = Endpoint(cast(Task, task), facts, {}, task.processor(folder, facts), session, threads or cores())
    endpoint.facts, endpoint.folder = {**facts, "runtime": "onnx", "task": TASK}, folder
    return endpoint


def beside(endpoint: Endpoint, processor: Any, session: Session) -> Endpoint:
    """An endpoint that gives the embeddings of ``endpoint``'s model: the same opened graph and masking, lanes of its own."""
    if isinstance(endpoint.task, Embedding):
        return endpoint
    made = Endpoint(cast(Task, Embedding()), endpoint.schema, {}, processor, session, endpoint.workers)
    made.facts, made.folder, made.masking = endpoint.facts, endpoint.folder, endpoint.masking
    return made
