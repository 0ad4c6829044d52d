from __future__ import annotations

import numpy as np
import torch

from luthier.core.plan import TrainPlan
from luthier.methods.contrastive import Contrast, plugin

PLAN = TrainPlan(method="contrastive", contrast_temperature=0.1, **plugin.defaults("standard"))
STRATA = np.repeat(np.arange(12), [8] * 10 + [3, 1])
LENGTHS = np.random.default_rng(0).integers(4, 30, len(STRATA))


def batches(epoch: int = 0, **changes: int) -> list[np.ndarray]:
    return Contrast().batches(STRATA, LENGTHS, PLAN.model_copy(update={"batch_tokens": 300, **changes}), 5, epoch)


def test_an_epoch_holds_each_row_once_within_the_budget() -> None:
    made = batches()
    assert sorted(np.concatenate(made).tolist()) == list(range(len(STRATA)))
    assert all(len(batch) * LENGTHS[batch].max() <= 300 for batch in made)
    assert max(len(batch) for batch in batches(batch_rows=12)) <= 12


def test_a_row_meets_others_of_its_class() -> None:
    for batch in batches():
        counts = np.bincount(STRATA[batch], minlength=12)
        assert all(count in (0, 4, 8) for count in counts[:10])
        assert counts[10] in (0, 3)


def test_batches_follow_from_seed_and_epoch() -> None:
    same = zip(batches(1), batches(1), strict=True)
    assert all(np.array_equal(one, other) for one, other in same)
    assert not all(np.array_equal(a, b) for a, b in zip(batches(1), batches(2), strict=False))


def test_the_loss_is_that_of_the_paper() -> None:
    vectors = torch.nn.functional.normalize(torch.randn(6, 5, generator=torch.Generator().manual_seed(1)), dim=-1)
    labels = torch.tensor([0, 0, 1, 1, 1, 2])
    terms = []
    for i in range(5):  # row 5 has no other of its class
        others = [j for j in range(6) if j != i]
        total = sum(torch.exp(vectors[i] @ vectors[j] / 0.1) for j in others)
        friends = [j for j in others if labels[j] == labels[i]]
        terms.append(-sum(torch.log(torch.exp(vectors[i] @ vectors[j] / 0.1) / total) for j in friends) / len(friends))
    found = Contrast().loss({"embedding": 3.0 * vectors}, {"labels": labels}, PLAN)
    assert torch.allclose(found, torch.stack(terms).mean(), atol=1e-5)


def test_a_batch_of_strangers_teaches_nothing() -> None:
    vectors = torch.randn(3, 5, requires_grad=True)
    found = Contrast().loss({"embedding": vectors}, {"labels": torch.tensor([0, 1, 2])}, PLAN)
    found.backward()
    assert float(found) == 0.0
    assert bool(torch.isfinite(vectors.grad).all())


def test_rows_of_several_labels_are_friends_when_all_are_the_same() -> None:
    vectors = torch.randn(4, 5)
    several = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    one = Contrast().loss({"embedding": vectors}, {"labels": torch.tensor([0, 0, 1, 1])}, PLAN)
    assert torch.equal(Contrast().loss({"embedding": vectors}, {"labels": several}, PLAN), one)
