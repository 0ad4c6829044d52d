"""Answers on the disk: one Parquet row a test row, so that any later model can be tested against this one on the same rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.errors import Damaged
from luthier.core.ports import Judged
from luthier.core.types import Example, Prediction, Schema, canonical_json
from luthier.store import files

NAME = "predictions.parquet"


def write(path: Path, judged: Judged) -> None:
    """Columns: id, source, target and output (JSON), confidence, abstained, out_of_scope, scores and logits (lists of numbers).

    The file's metadata names the classes of ``scores`` (``score_names``).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(judged.predictions[0].scores) if judged.predictions else []
    logits = judged.outputs.get("logits")
    table = pa.table(
        {
            "id": [example.id for example in judged.examples],
            "source": [example.source for example in judged.examples],
            "target": [canonical_json(example.target) for example in judged.examples],
            "output": [canonical_json(prediction.output) for prediction in judged.predictions],
            "confidence": [prediction.confidence for prediction in judged.predictions],
            "abstained": [prediction.abstained for prediction in judged.predictions],
            "out_of_scope": [prediction.out_of_scope for prediction in judged.predictions],
            "scores": pa.array([list(prediction.scores.values()) for prediction in judged.predictions], pa.list_(pa.float64())),
            "logits": pa.array([] if logits is None else np.asarray(logits, dtype=np.float32).tolist(), pa.list_(pa.float32()))
            if logits is not None
            else pa.nulls(len(judged.examples), pa.list_(pa.float32())),
        }
    ).replace_schema_metadata({"score_names": json.dumps(names)})
    with files.written_aside(path) as aside:
        pq.write_table(table, aside, compression="zstd")


def read(path: Path, schema: Schema) -> Judged:
    """The answers that ``write`` kept; the examples have ids and targets only. Raises ``Damaged`` for a torn file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise Damaged(f"{path}: not a whole Parquet file: {error}", "evaluate that model again") from None
    names: list[str] = json.loads((table.schema.metadata or {}).get(b"score_names", b"[]"))
    examples: list[Example] = []
    predictions: list[Prediction] = []
    for row in table.drop_columns(["logits"]).to_pylist():
        examples.append(Example(row["id"], {}, json.loads(row["target"]), source=row["source"]))
        predictions.append(_prediction(row, names))
    return Judged(examples, predictions, {}, schema)


def _prediction(row: dict[str, Any], names: list[str]) -> Prediction:
    return Prediction(
        id=row["id"],
        output=json.loads(row["output"]),
        confidence=row["confidence"],
        scores=dict(zip(names, row["scores"] or [], strict=True)),
        abstained=row["abstained"],
        out_of_scope=row["out_of_scope"],
    )
