"""What the drift monitor compares with: how validation rows looked to the model when it was judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.ports import Judged
from luthier.core.types import names_in
from luthier.store import files

MOST_ROWS = 1000
BINS = 20


def write(folder: Path, judged: Judged, lengths: list[int], seed: int) -> None:
    """``reference.json`` (shares, histogram, quantiles) and, where the model gives embeddings, ``reference.safetensors``.

    The latter holds ``embedding`` float32 [at most 1000, hidden] and ``scores`` float32 [the same rows, classes].
    """
    from safetensors.numpy import save_file

    rows = len(judged.examples)
    some = np.sort(np.random.default_rng(seed).permutation(rows)[:MOST_ROWS])
    files.write_json(folder / "reference.json", _facts(judged, lengths) | {"sampled_rows": len(some)})
    arrays: dict[str, Any] = {}
    if "embedding" in judged.outputs:
        arrays["embedding"] = np.ascontiguousarray(np.asarray(judged.outputs["embedding"])[some], dtype=np.float32)
    if rows and judged.predictions[0].scores:
        arrays["scores"] = np.array([list(judged.predictions[row].scores.values()) for row in some], dtype=np.float32)
    if arrays:
        with files.written_aside(folder / "reference.safetensors") as aside:
            save_file(arrays, aside)


def _facts(judged: Judged, lengths: list[int]) -> dict[str, Any]:
    shares: dict[str, float] = {}
    for prediction in judged.predictions:
        for name in names_in(prediction.output):
            shares[name] = shares.get(name, 0.0) + 1.0
    rows = max(len(judged.examples), 1)
    confidence = [prediction.confidence for prediction in judged.predictions]
    counts, edges = np.histogram(confidence, bins=BINS, range=(0.0, 1.0))
    return {
        "split": "validation",
        "rows": len(judged.examples),
        "predicted_shares": {name: count / rows for name, count in sorted(shares.items())},
        "score_names": list(judged.predictions[0].scores) if judged.predictions else [],
        "confidence": {
            "edges": [round(float(e), 4) for e in edges],
            "shares": (counts / rows).tolist(),
            "mean": float(np.mean(confidence or [0])),
        },
        "abstained_share": sum(p.abstained for p in judged.predictions) / rows,
        "energy_quantiles": judged.calibration.get("energy_quantiles", []),
        "length_quantiles": [float(q) for q in np.quantile(lengths, np.linspace(0, 1, 21))] if lengths else [],
    }
