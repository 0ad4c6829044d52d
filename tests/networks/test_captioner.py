"""The captioner: what it computes, what of it learns, and that it is kept whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from luthier.core import images
from luthier.core.errors import Damaged
from luthier.networks import captioner
from luthier.testing import made


@pytest.fixture(scope="module")
def base() -> Path:
    return made.base(architecture="vision")


def _batch(net: captioner.Captioner, rows: int = 3, words: int = 5) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(3)
    ids = torch.randint(5, 60, (rows, net.places + words), generator=random)
    mask = torch.zeros_like(ids)
    mask[:, net.places :] = 1
    pixels = torch.randint(0, 256, (rows, 3, *net.how.size), generator=random, dtype=torch.uint8)
    return {"input_ids": ids, "loss_mask": mask, "pixels": pixels}


def test_the_loss_is_that_of_the_words_behind_the_picture(base: Path) -> None:
    net = captioner.load(base, seed=1).eval()
    batch = _batch(net)
    with torch.inference_mode():
        found = net(**batch)
        logits = net.decoder(inputs_embeds=net.embedded(batch["input_ids"], batch["pixels"])).logits
        words = batch["input_ids"][:, net.places :]
        right = nn.functional.cross_entropy(logits[:, net.places - 1 : -1].transpose(1, 2), words, reduction="none").sum(1)
    torch.testing.assert_close(found["loss_sum"], right)
    assert found["predicted"].tolist() == [5, 5, 5]


def test_what_stands_in_the_places_of_the_picture_means_nothing_and_the_picture_does(base: Path) -> None:
    net = captioner.load(base, seed=1).eval()
    batch = _batch(net)
    other = {**batch, "input_ids": batch["input_ids"].clone()}
    other["input_ids"][:, : net.places] = 7
    with torch.inference_mode():
        torch.testing.assert_close(net(**batch)["loss_sum"], net(**other)["loss_sum"])
        assert not torch.allclose(net(**batch)["loss_sum"], net(**{**batch, "pixels": 255 - batch["pixels"]})["loss_sum"])


def test_normalisation_is_that_of_images(base: Path) -> None:
    net = captioner.load(base)
    pixels = _batch(net)["pixels"]
    seen: list[Any] = []
    handle = net.trunk.vision.register_forward_pre_hook(lambda module, args, kwargs: seen.append(kwargs["pixel_values"]), with_kwargs=True)
    net.seen(pixels)
    handle.remove()
    np.testing.assert_allclose(seen[0].numpy(), images.normalised(pixels.numpy(), net.how), atol=1e-6)


def test_training_leaves_the_statistics_of_the_vision_model_alone(base: Path) -> None:
    net = captioner.load(base, seed=1).train()
    before = {name: one.clone() for name, one in net.state_dict().items() if "running" in name}
    assert before
    net(**_batch(net))["loss_sum"].sum().backward()
    assert all(torch.equal(net.state_dict()[name], one) for name, one in before.items())
    assert all(one.grad is not None for name, one in net.named_parameters() if name.startswith(("mapper", "place_vectors")))
    assert next(net.trunk.vision.parameters()).grad is not None


def test_random_weights_are_settled_and_follow_the_seed(base: Path) -> None:
    one, same, other = (captioner.load(base, pretrained=False, seed=seed).eval() for seed in (4, 4, 5))
    for name, value in one.state_dict().items():
        assert torch.equal(value, same.state_dict()[name]), name
    assert not torch.equal(one.mapper[1].weight, other.mapper[1].weight)
    spread = float(one.seen(_batch(one, rows=8)["pixels"]).std())
    assert 0.05 < spread < 20, "what comes out of a net of random weights neither dies out nor grows"


def test_saved_and_loaded_it_is_the_same_and_what_lacks_is_said(base: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    net = captioner.load(base, seed=1).eval()
    net.save(tmp_path)
    again = captioner.load(tmp_path, seed=9).eval()
    batch = _batch(net)
    with torch.inference_mode():
        assert torch.equal(net(**batch)["loss_sum"], again(**batch)["loss_sum"])
    assert images.settings_in(tmp_path) == net.how
    weights = load_file(tmp_path / "model.safetensors")
    assert not any("lm_head" in name for name in weights), "tied word vectors stand there once"
    del weights["mapper.1.weight"]
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(Damaged, match=r"mapper\.1\.weight"):
        captioner.load(tmp_path)


def test_a_folder_without_both_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="no vision model and decoder"):
        captioner.load(made.base(architecture="decoder"))


def test_settings_are_written_as_they_are_read() -> None:
    for how in (images.Settings(), images.Settings(resize=(40, 0), crop=(32, 32), mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), resample=3)):
        assert images.settings(images.as_config(how)) == how


def test_a_fine_grid_is_averaged_down_and_a_transformers_patches_are_a_grid() -> None:
    from transformers import ViTConfig, ViTModel

    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    vit = ViTModel(ViTConfig(**shape, image_size=64, patch_size=8), add_pooling_layer=False).eval()
    with torch.inference_mode():
        assert captioner.features(vit, torch.zeros(2, 3, 64, 64)).shape == (2, 49, 16)
        small = ViTModel(ViTConfig(**shape, image_size=32, patch_size=8), add_pooling_layer=False).eval()
        patches = small(pixel_values=torch.ones(1, 3, 32, 32)).last_hidden_state[:, 1:]
        torch.testing.assert_close(captioner.features(small, torch.ones(1, 3, 32, 32)), patches)
