"""Kept answers come back as they were; a torn file is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from luthier.core.errors import Damaged
from luthier.core.ports import Judged
from luthier.core.types import Example
from luthier.stages.evaluate import predictions, reference
from luthier.store import files
from luthier.tasks.text_classification import plugin as task


def _judged(several: bool = False) -> Judged:
    schema = {"labels": ["a", "b"], "multi_label": several}
    targets = [["a"], [], ["a", "b"]] if several else ["a", "b", "a"]
    examples = [Example(str(n), {"text": "t"}, target, source=f"f.csv:{n}") for n, target in enumerate(targets)]
    outputs = {"logits": np.array([[2.0, -1.0], [-2.0, -1.0], [0.5, 0.4]]), "embedding": np.ones((3, 4))}
    return Judged(examples, task.decode([e.id for e in examples], outputs, schema, {}), outputs, schema)


@pytest.mark.parametrize("several", [False, True])
def test_round_trip(tmp_path: Path, several: bool) -> None:
    judged = _judged(several)
    predictions.write(tmp_path / "p.parquet", judged)
    back = predictions.read(tmp_path / "p.parquet", judged.schema)
    assert list(back.predictions) == list(judged.predictions)
    assert [e.target for e in back.examples] == [e.target for e in judged.examples]


def test_torn_file(tmp_path: Path) -> None:
    predictions.write(tmp_path / "p.parquet", _judged())
    (tmp_path / "p.parquet").write_bytes((tmp_path / "p.parquet").read_bytes()[:200])
    with pytest.raises(Damaged, match=r"p\.parquet"):
        predictions.read(tmp_path / "p.parquet", {})


def test_reference_for_the_monitor(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    reference.write(tmp_path, _judged(), [3, 4, 5], 1)
    facts, arrays = files.read_json(tmp_path / "reference.json"), load_file(tmp_path / "reference.safetensors")
    assert facts["predicted_shares"] == {"a": pytest.approx(2 / 3), "b": pytest.approx(1 / 3)}
    assert sum(facts["confidence"]["shares"]) == pytest.approx(1.0)
    assert arrays["embedding"].shape == (3, 4)
    assert arrays["embedding"].dtype == np.float32
