from __future__ import annotations

import torch
from torch import nn

from luthier.core.plan import TrainPlan
from luthier.networks import touched_rows
from luthier.stages.train.optimizer import AdamW, Average, schedule


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = Trunk()
        self.head = nn.Linear(4, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.trunk(ids))


class Trunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(12, 4)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.words(ids).mean(dim=1)

    def get_input_embeddings(self) -> nn.Module:
        return self.words

    def set_input_embeddings(self, module: nn.Module) -> None:
        self.words = module


def test_equal_to_torch_when_every_row_is_touched() -> None:
    plan = TrainPlan(learning_rate=0.01, head_learning_rate=0.01, max_grad_norm=0.5, weight_decay=0.1)
    ids, right = torch.arange(12).view(4, 3), torch.tensor([0, 1, 2, 0])
    ours, theirs = Tiny(), Tiny()
    rows = touched_rows.put_in(ours.trunk)
    optimizer = AdamW(ours, rows, plan)
    decayed = [p for p in theirs.parameters() if p.ndim > 1]
    plain = [p for p in theirs.parameters() if p.ndim == 1]
    reference = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}], lr=0.01)
    for step in range(5):
        nn.functional.cross_entropy(ours(ids), right).backward()
        norm = optimizer.step(schedule(step, 5, 0.2))
        nn.functional.cross_entropy(theirs(ids), right).backward()
        expected = nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        for group in reference.param_groups:
            group["lr"] = 0.01 * schedule(step, 5, 0.2)
        reference.step()
        reference.zero_grad()
        assert abs(norm - float(expected)) < 1e-5
    touched_rows.take_out(ours.trunk, rows)
    for (name, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6), name


def test_rows_that_no_text_uses_stay_as_they_are() -> None:
    model = Tiny()
    before = model.trunk.words.weight.detach().clone()
    rows = touched_rows.put_in(model.trunk)
    optimizer = AdamW(model, rows, TrainPlan(learning_rate=0.01, weight_decay=0.1))
    for ids in (torch.tensor([[1, 2]]), torch.tensor([[2, 3]])):
        nn.functional.cross_entropy(model(ids), torch.tensor([0])).backward()
        optimizer.step(1.0)
    touched_rows.take_out(model.trunk, rows)
    changed = (model.trunk.words.weight.detach() != before).any(dim=1).nonzero().squeeze(1)
    assert changed.tolist() == [1, 2, 3]
    assert model.trunk.words.weight.requires_grad


def test_a_shared_table_is_left_alone() -> None:
    model = Tiny()
    model.trunk.output = nn.Linear(4, 12, bias=False)
    model.trunk.output.weight = model.trunk.words.weight
    assert touched_rows.put_in(model.trunk) is None


def test_schedule_goes_up_and_down_to_nothing() -> None:
    factors = [schedule(step, 100, 0.1) for step in range(100)]
    assert max(factors) == factors[10] == 1.0
    assert factors[0] < factors[5] < factors[9] < 1.0
    assert factors[99] < 0.02


def test_average_is_the_mean_and_swaps_back() -> None:
    live = {"a": torch.zeros(3)}
    average = Average(live)
    for value in (1.0, 2.0, 6.0):
        live["a"].fill_(value)
        average.take()
    average.swap()
    assert torch.allclose(live["a"], torch.full((3,), 3.0))
    average.swap()
    assert torch.equal(live["a"], torch.full((3,), 6.0))
