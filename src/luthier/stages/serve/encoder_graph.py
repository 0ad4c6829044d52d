"""Makes the graph of a base encoder, in a process of its own: ``python -m luthier.stages.serve.encoder_graph MODEL OUT``.

The only file of ``serve`` that needs torch, and the server never imports it.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from luthier.core import registry
from luthier.stages.parent import end_with_parent
from luthier.stages.serve.encoder import FACTS
from luthier.store import files

MOST_TOKENS = 512
SAMPLE = ("Where is my parcel?", "I was charged twice for the same order, and nobody answers.")


def make(model: Path, out: Path) -> None:
    """Writes the folder ``out`` whole, from a base model's folder: graph, tokenizer, ``encoder.json``."""
    task = registry.get("tasks", "text-classification")
    # The output layer of one class is never asked: the graph is the one that a classifier has, so it is exported the same way.
    schema = {"labels": ["none"], "multi_label": False, "max_tokens": max_tokens(model)}
    network = task.load(model, schema).eval()
    items = task.encode([task.request({"text": text})[0] for text in SAMPLE], task.processor(model, schema), schema)
    graphs = task.graphs(network, task.collate(items))
    with files.folder_aside(out) as aside:
        registry.get("runtimes", "onnx").convert(graphs, aside, aside, [])
        shutil.copyfile(model / "tokenizer.json", aside / "tokenizer.json")
        facts = {"max_tokens": schema["max_tokens"], "pooling": network.pooling, "dimensions": int(network.config.hidden_size)}
        files.write_json(aside / FACTS, facts)


def max_tokens(model: Path) -> int:
    """Tokens that the model was trained with: sentence-transformers' own file says so, else its positions; 512 at most."""
    config: dict[str, Any] = files.read_json(model / "config.json")
    path = model / "sentence_bert_config.json"
    said = files.read_json(path).get("max_seq_length") if path.is_file() else None
    positions = int(config.get("max_position_embeddings") or MOST_TOKENS)
    if config.get("model_type") in ("roberta", "xlm-roberta", "camembert"):  # their first position is number pad + 1
        positions -= int(config.get("pad_token_id") or 1) + 1
    return max(8, min(int(said or MOST_TOKENS), positions, MOST_TOKENS))


if __name__ == "__main__":
    end_with_parent()
    make(Path(sys.argv[1]), Path(sys.argv[2]))
