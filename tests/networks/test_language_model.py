"""A language model's sums: as transformers computes them, and blind to padding and to tokens that do not count."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from luthier.core.errors import Damaged, NotPossible, UnsafeFile
from luthier.networks import language_model
from luthier.testing import made


def test_the_losses_are_those_of_transformers() -> None:
    model = language_model.load(made.base(architecture="decoder")).eval()
    ids = torch.randint(4, 60, (1, 12), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found = model(ids)
        theirs = model.decoder(input_ids=ids, labels=ids).loss
    assert float(found["predicted"]) == 11
    assert math.isclose(float(found["loss_sum"] / found["predicted"]), float(theirs), rel_tol=1e-5)


def test_padding_and_masked_tokens_do_not_count() -> None:
    model = language_model.load(made.base(architecture="decoder")).eval()
    ids = torch.randint(4, 60, (2, 12), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    only = torch.zeros_like(ids)
    only[:, 3:5] = 1
    with torch.inference_mode():
        whole, alone = model(ids, mask), model(ids[1:, :7])
        some = model(ids, mask, only)
    assert whole["predicted"].tolist() == [11, 6]
    for name in ("loss_sum", "correct"):
        assert torch.allclose(whole[name][1], alone[name][0], atol=1e-5)
    assert some["predicted"].tolist() == [2, 2]
    assert (some["loss_sum"] < whole["loss_sum"]).all()


def test_saved_weights_are_transformers_own(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = language_model.load(made.base(architecture="decoder"), seed=3)
    with torch.no_grad():
        model.decoder.get_input_embeddings().weight.add_(0.25)
    model.save(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, local_files_only=True)
    for name, tensor in model.decoder.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    base = made.base(architecture="decoder")
    with pytest.raises(Damaged, match=r"config\.json"):
        language_model.load(tmp_path)
    (tmp_path / "config.json").write_bytes((base / "config.json").read_bytes())
    with pytest.raises(Damaged, match="cannot be read"):
        language_model.load(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(UnsafeFile):
        language_model.load(tmp_path)


def test_random_weights_follow_the_seed() -> None:
    base = made.base(architecture="decoder")
    first, again, other = (language_model.load(base, pretrained=False, seed=seed) for seed in (1, 1, 2))
    name = "decoder.model.layers.0.self_attn.q_proj.weight"
    assert torch.equal(first.state_dict()[name], again.state_dict()[name])
    assert not torch.equal(first.state_dict()[name], other.state_dict()[name])


def test_it_cannot_be_cut() -> None:
    model = language_model.load(made.base(architecture="decoder"))
    with pytest.raises(NotPossible, match="cannot be cut"):
        model.lower(torch.zeros(1, 4, dtype=torch.long), None, 1)
