"""Two models whose names are joined by a plus become one captioning base, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from luthier.catalog import cards
from luthier.core import registry
from luthier.core.errors import InputError, UnknownName
from luthier.testing import made


def test_a_vision_model_and_a_decoder_of_the_catalog() -> None:
    card = cards.find("resnet-50+gpt2")
    assert (card.id, card.architecture) == ("resnet-50+gpt2", "vision")
    assert card.parameters == cards.find("resnet-50").parameters + cards.find("gpt2").parameters
    assert cards.memory_bytes(card, "full") > cards.memory_bytes(cards.find("gpt2"), "full")
    parts = [cards.availability(cards.find(name)) for name in ("resnet-50", "gpt2")]
    assert cards.availability(card) == next((found for found in parts if not found[0]), (True, ""))


@pytest.mark.parametrize(
    ("name", "error"), [("gpt2+resnet-50", InputError), ("resnet-50+minilm", InputError), ("resnet-5o+gpt2", UnknownName)]
)
def test_what_does_not_fit_together_is_refused(name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        cards.find(name)


def test_folders_are_composed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    base = made.base(architecture="vision")
    for name in ("preprocessor_config.json",):  # a part by itself has what a hub's folder has
        (base / "vision" / name).write_bytes((base / name).read_bytes())
    (base / "decoder" / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    card = cards.find(f"{base / 'vision'}+{base / 'decoder'}")
    place = cards.locate(card)
    assert cards.locate(card) == place
    assert len(list(place.parent.iterdir())) == 1
    assert registry.get("tasks", "image-captioning").load(place, {}).places > 0
