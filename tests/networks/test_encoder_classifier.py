"""The encoder with an output layer: in two parts it answers as in one, padding changes nothing, and what is saved comes back bit by bit."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.core.errors import Damaged, NotPossible, UnsafeFile
from luthier.networks import byte_dropout, encoder_classifier
from luthier.networks.encoder_classifier import EncoderClassifier

WORDS, WIDTH, LAYERS, CLASSES = 60, 32, 2, 3
SHAPE = {"vocab_size": WORDS, "max_position_embeddings": 64}
BERT = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 2, "intermediate_size": 64}


def _encoder(family: str) -> Any:
    from transformers import AutoConfig, AutoModel

    sizes = BERT
    if family == "distilbert":
        sizes = {"dim": WIDTH, "n_layers": LAYERS, "n_heads": 2, "hidden_dim": 64}
    torch.manual_seed(0)
    return AutoModel.from_config(AutoConfig.for_model(family, **SHAPE, **sizes))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT that nobody trained, as a base model's folder."""
    folder = tmp_path_factory.mktemp("base")
    _encoder("bert").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(base: Path) -> EncoderClassifier:
    return encoder_classifier.load(base, CLASSES, seed=1).eval()


def _batch(*, padded: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    ids = torch.randint(4, WORDS, (3, 9), generator=torch.Generator().manual_seed(2))
    if not padded:
        return ids, None
    mask = torch.ones_like(ids)
    mask[0, 4:], mask[2, 7:] = 0, 0
    return ids * mask, mask


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("cut", range(LAYERS + 1))
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
@torch.inference_mode()
def test_in_two_parts_it_answers_as_in_one(family: str, cut: int, padded: bool) -> None:
    whole = EncoderClassifier(_encoder(family), CLASSES).eval()
    ids, mask = _batch(padded=padded)
    right = whole(ids, mask)
    lower = whole.lower(ids, mask, cut)
    assert lower.shape == ((3, WIDTH) if cut == LAYERS else (3, 9, WIDTH))
    found = whole.upper(lower, mask, cut)
    for name in ("logits", "embedding"):
        torch.testing.assert_close(found[name], right[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", ["electra", "mpnet", "deberta-v2", "roberta-prelayernorm"])
def test_a_family_with_more_between_its_layers_is_not_cut(family: str) -> None:
    """Projected embeddings, relative positions, a normalization after the last layer: cut blindly, these answer wrongly or not at all."""
    whole = EncoderClassifier(_encoder(family), CLASSES).eval()
    assert whole.layers is None
    with pytest.raises(NotPossible, match="cannot be cut"):
        whole.lower(*_batch(padded=True), 1)


@torch.inference_mode()
def test_a_mask_that_hides_nothing_is_no_mask(model: EncoderClassifier) -> None:
    ids, _ = _batch(padded=False)
    torch.testing.assert_close(model(ids, torch.ones_like(ids))["logits"], model(ids)["logits"], rtol=1e-5, atol=1e-6)


@torch.inference_mode()
def test_padding_changes_no_answer(model: EncoderClassifier) -> None:
    ids, mask = _batch(padded=True)
    together = model(ids, mask)["logits"]
    assert mask is not None
    for row, count in enumerate(mask.sum(dim=1).tolist()):
        torch.testing.assert_close(model(ids[row : row + 1, :count])["logits"][0], together[row], rtol=1e-5, atol=1e-6)


def test_the_mean_leaves_padding_out(model: EncoderClassifier) -> None:
    hidden = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [1e9, -1e9]]])
    mask = torch.tensor([[1, 1, 0]])
    assert model.pool(hidden, mask).tolist() == [[2.0, 3.0]]
    assert model.pool(hidden[:, :2], None).tolist() == [[2.0, 3.0]]


def test_the_first_token_is_taken_when_the_base_model_says_so(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(base, folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    model = encoder_classifier.load(folder, CLASSES)
    hidden = torch.arange(12.0).reshape(2, 3, 2)
    assert model.pooling == "cls"
    assert model.pool(hidden, None).tolist() == [[0.0, 1.0], [6.0, 7.0]]
    model.save(tmp_path / "saved")
    assert encoder_classifier.load(tmp_path / "saved", CLASSES).pooling == "cls"


@torch.inference_mode()
def test_what_is_saved_comes_back_bit_by_bit(model: EncoderClassifier, tmp_path: Path) -> None:
    model.save(tmp_path)
    again = encoder_classifier.load(tmp_path, CLASSES, seed=99).eval()
    assert again.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    ids, mask = _batch(padded=True)
    assert torch.equal(again(ids, mask)["logits"], model(ids, mask)["logits"])
    assert not list(tmp_path.glob(".aside-*"))


def test_the_unused_pooler_is_neither_trained_nor_saved(model: EncoderClassifier) -> None:
    assert not [name for name in model.state_dict() if "pooler" in name]


def test_a_seed_decides_every_new_weight(base: Path) -> None:
    first, same, other = (encoder_classifier.load(base, CLASSES, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.head.weight, same.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)
    for name, tensor in first.encoder.state_dict().items():
        assert torch.equal(other.encoder.state_dict()[name], tensor), name


def test_from_scratch_has_the_shape_and_none_of_the_weights(base: Path) -> None:
    known = encoder_classifier.load(base, CLASSES, seed=1)
    scratch, same = (encoder_classifier.load(base, CLASSES, pretrained=False, seed=1) for _ in range(2))
    shapes = {name: tensor.shape for name, tensor in known.state_dict().items()}
    assert {name: tensor.shape for name, tensor in scratch.state_dict().items()} == shapes
    name = "encoder.encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(scratch.state_dict()[name], known.state_dict()[name])
    assert torch.equal(scratch.state_dict()[name], same.state_dict()[name])


def test_a_trained_model_as_the_base_of_another(model: EncoderClassifier, tmp_path: Path) -> None:
    """Its own output layer where the classes are as many, else a new one; from scratch there is nothing of it left."""
    model.save(tmp_path)
    same, more = encoder_classifier.load(tmp_path, CLASSES, seed=5), encoder_classifier.load(tmp_path, CLASSES + 2, seed=5)
    assert torch.equal(same.head.weight, model.head.weight)
    assert more.head.weight.shape == (CLASSES + 2, WIDTH)
    assert torch.equal(more.head.weight, encoder_classifier.load(tmp_path, CLASSES + 2, seed=5).head.weight)
    for name, tensor in model.encoder.state_dict().items():
        assert torch.equal(more.encoder.state_dict()[name], tensor), name
    scratch = encoder_classifier.load(tmp_path, CLASSES + 1, pretrained=False, seed=5)
    assert scratch.head.out_features == CLASSES + 1
    name = "encoder.encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(scratch.state_dict()[name], model.state_dict()[name])


@pytest.mark.parametrize("pretrained", [True, False])
def test_dropout_by_bytes_is_in_every_model(base: Path, model: EncoderClassifier, tmp_path: Path, pretrained: bool) -> None:
    model.save(tmp_path)
    for folder in (base, tmp_path):
        loaded = encoder_classifier.load(folder, CLASSES, dropout=0.1, pretrained=pretrained)
        kinds = {type(module) for module in loaded.modules() if isinstance(module, torch.nn.Dropout)}
        assert kinds == {byte_dropout.ByteDropout}, folder


def test_dropout_is_what_was_asked_for(base: Path) -> None:
    model = encoder_classifier.load(base, CLASSES, dropout=0.25)
    found = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
    assert found == {0.25}


def test_pickled_weights_are_refused(base: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((base / "config.json").read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02never read")
    with pytest.raises(UnsafeFile, match=r"pytorch_model\.bin"):
        encoder_classifier.load(tmp_path, CLASSES)


def _torn(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def _other_classes(folder: Path) -> None:
    (folder / "network.json").write_text(json.dumps({"network": "encoder-classifier", "classes": CLASSES + 1, "pooling": "mean"}))


def _other_depth(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": LAYERS + 1}))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_torn, id="torn weights"),
        pytest.param(lambda folder: (folder / "model.safetensors").unlink(), id="no weights"),
        pytest.param(lambda folder: (folder / "model.safetensors").write_bytes(b"{}"), id="no safetensors"),
        pytest.param(lambda folder: (folder / "network.json").write_text('{"classes": 3'), id="torn network.json"),
        pytest.param(_other_classes, id="other classes"),
        pytest.param(_other_depth, id="other depth"),
    ],
)
def test_damaged_weights_are_named(model: EncoderClassifier, tmp_path: Path, damage: Any) -> None:
    model.save(tmp_path)
    damage(tmp_path)
    with pytest.raises(Damaged, match=str(tmp_path)):
        encoder_classifier.load(tmp_path, CLASSES)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_torn, id="torn weights"),
        pytest.param(lambda folder: (folder / "model.safetensors").unlink(), id="no weights"),
        pytest.param(lambda folder: (folder / "config.json").write_text('{"model'), id="torn config.json"),
        pytest.param(_other_depth, id="weights of fewer layers"),
    ],
)
def test_a_damaged_base_model_is_named(base: Path, tmp_path: Path, damage: Any) -> None:
    folder = tmp_path / "base"
    shutil.copytree(base, folder)
    damage(folder)
    with pytest.raises(Damaged, match=str(folder)):
        encoder_classifier.load(folder, CLASSES)


def test_a_full_disk_while_saving_is_said_so(tmp_path: Path) -> None:
    """In a process of its own whose files may hold 2 kB."""
    script = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from transformers import BertConfig, BertModel
from luthier.core.errors import NoSpace
from luthier.networks.encoder_classifier import EncoderClassifier
from pathlib import Path
shape = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
network = EncoderClassifier(BertModel(shape, add_pooling_layer=False), 3)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    network.save(Path({str(tmp_path)!r}))
except NoSpace as error:
    print("said:", error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert "said:" in done.stdout, done.stderr[-1500:]
    assert "the disk is full" in done.stdout
    assert list(tmp_path.iterdir()) == []
