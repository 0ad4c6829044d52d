from __future__ import annotations

import pytest
import torch

from luthier.networks.losses import classification

LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3], [-1.0, 3.0, 0.0]])
LABELS = torch.tensor([0, 1, 0])


def test_focal_loss_is_the_papers_formula() -> None:
    chance = torch.softmax(LOGITS, -1)[torch.arange(3), LABELS]
    wanted = (-((1 - chance) ** 2) * chance.log()).mean()
    assert torch.allclose(classification(LOGITS, LABELS, several=False, gamma=2.0), wanted)


def test_no_gamma_is_cross_entropy_and_a_small_one_comes_near() -> None:
    weights = torch.tensor([1.0, 2.0, 0.5])
    plain = torch.nn.functional.cross_entropy(LOGITS, LABELS, weight=weights, label_smoothing=0.1)
    kept = {"several": False, "weights": weights, "smoothing": 0.1}
    assert torch.equal(classification(LOGITS, LABELS, **kept), plain)
    assert float(classification(LOGITS, LABELS, gamma=1e-6, **kept)) == pytest.approx(float(plain), rel=1e-4)


def test_several_labels_are_decisions_of_their_own() -> None:
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    chance = torch.sigmoid(LOGITS)
    right = torch.where(labels > 0, chance, 1 - chance)
    wanted = (-((1 - right) ** 2) * right.log()).mean()
    assert torch.allclose(classification(LOGITS, labels, several=True, gamma=2.0), wanted, atol=1e-6)


def test_a_certain_row_has_a_gradient_that_is_a_number() -> None:
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    classification(logits, torch.tensor([0, 0]), several=False, gamma=0.5).backward()
    assert bool(torch.isfinite(logits.grad).all())
