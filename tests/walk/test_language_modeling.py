"""The walk of a language model: plain text, a tiny decoder, a report; no export, since its model is a base to tune."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from luthier.app.service import Service
from luthier.core.errors import NotPossible, SpecError
from luthier.core.spec import make_spec
from luthier.testing import made


@pytest.mark.long
def test_from_text_to_a_base_that_can_be_tuned(tmp_path: Path) -> None:
    texts = [{"text": row["text"], "source": row["channel"]} for row in made.rows(120)]
    (tmp_path / "text.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
    recipe = {
        "name": "tiny",
        "task": "language-modeling",
        "model": str(made.base(architecture="decoder")),
        "data": {"train": str(tmp_path / "text.jsonl")},
        "prepare": {"near_duplicates": 1.0, "mask": False},
        "train": {"epochs": 6, "learning_rate": 5e-3, "batch_tokens": 256, "dropout": 0.0, "patience": 0, "fitted_head": False},
        "evaluate": {"bootstrap": 50, "bars": {"token_accuracy": 0.05}},
    }
    service = Service(str(tmp_path / "home"))
    result = service.run(service.plan(make_spec(recipe)))
    assert result.export is None
    evaluation = json.loads((Path(result.evaluation.path) / "evaluation.json").read_text())
    scores = evaluation["scores"]
    assert scores["perplexity"]["value"] < 60
    assert scores["perplexity"]["low"] < scores["perplexity"]["value"] < scores["perplexity"]["high"]
    assert set(scores["perplexity"]["parts"]) == {"mail", "phone"}
    assert 0.5 < scores["bits_per_byte"]["value"] < 3
    assert (Path(result.evaluation.path) / "report.html").stat().st_size > 1000
    with pytest.raises(NotPossible, match="base to tune"):
        service.export(service.plan(make_spec(recipe)), result.evaluation)
    again = service.plan(make_spec(recipe | {"model": result.model.path}))
    assert again.base["architecture"] == "decoder"
    with pytest.raises(SpecError, match=r"deploy\.endpoint"):
        service.plan(make_spec(recipe | {"deploy": {"endpoint": "x"}}))
