"""Dropout by bytes drops what torch's drops: the right share, scaled, decided by torch's seed alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from luthier.networks import byte_dropout
from luthier.networks.byte_dropout import ByteDropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_and_the_mean_are_right(rate: float) -> None:
    torch.manual_seed(0)
    dropped = ByteDropout(rate)(torch.ones(400, 500))
    share = float((dropped == 0).float().mean())
    assert share == pytest.approx(round(256 * rate) / 256, abs=0.004)
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.02)
    assert len(dropped.unique()) == 2


def test_the_seed_decides_and_masks_differ() -> None:
    layer, values = ByteDropout(0.3), torch.ones(50, 60)
    torch.manual_seed(5)
    first, second = layer(values), layer(values)
    torch.manual_seed(5)
    assert torch.equal(layer(values), first)
    assert not torch.equal(first, second)


def test_gradients_flow_through_what_was_kept() -> None:
    values = torch.randn(30, 40, requires_grad=True)
    dropped = ByteDropout(0.25)(values)
    dropped.sum().backward()
    assert values.grad is not None
    assert torch.allclose(values.grad, (dropped != 0) * 256 / 192)


@pytest.mark.parametrize("layer", [ByteDropout(0.1).eval(), ByteDropout(0.0)])
def test_nothing_is_dropped_when_answering_or_without_a_rate(layer: ByteDropout) -> None:
    torch.manual_seed(0)
    values = torch.randn(20)
    assert torch.equal(layer(values), values)


def test_it_takes_the_place_of_every_dropout() -> None:
    module = nn.Sequential(nn.Dropout(0.1), nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.2)))
    byte_dropout.put_in(module)
    found = [layer for layer in module.modules() if isinstance(layer, nn.Dropout)]
    assert [type(layer) for layer in found] == [ByteDropout, ByteDropout]
    assert [layer.p for layer in found] == [0.1, 0.2]
