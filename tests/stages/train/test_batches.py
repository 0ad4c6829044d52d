from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.stages.train.batches import course, epoch_batches, sorted_batches


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 80), min_size=1, max_size=300), st.integers(1, 400), st.integers(0, 5))
def test_each_item_once_and_within_the_budget(lengths: list[int], budget: int, epoch: int) -> None:
    array = np.array(lengths)
    batches = epoch_batches(array, budget, 7, epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for numbers in batches:
        assert len(numbers) == 1 or len(numbers) * array[numbers].max() <= budget


def test_order_follows_from_seed_and_epoch_alone() -> None:
    lengths = np.random.default_rng(0).integers(3, 30, 500)
    again = [batch.tolist() for batch in epoch_batches(lengths, 128, 3, 1)]
    assert again == [batch.tolist() for batch in epoch_batches(lengths, 128, 3, 1)]
    assert again != [batch.tolist() for batch in epoch_batches(lengths, 128, 3, 2)]
    assert again != [batch.tolist() for batch in epoch_batches(lengths, 128, 4, 1)]


def test_little_padding() -> None:
    lengths = np.random.default_rng(0).integers(5, 40, 5000)
    for batches in (epoch_batches(lengths, 640, 3, 0), sorted_batches(lengths, 640)):
        computed = sum(len(numbers) * int(lengths[numbers].max()) for numbers in batches)
        assert computed / lengths.sum() < 1.02


def test_a_fraction_of_an_epoch_and_a_limit_of_steps() -> None:
    lengths = np.full(100, 10)
    assert course(lengths, 100, 0, 2).ends == (10, 20)
    assert course(lengths, 100, 0, 1.5).ends == (10, 15)
    assert course(lengths, 100, 0, 3, max_steps=14).steps == 14
    planned = course(lengths, 100, 0, 1.5)
    assert [planned.epoch_of(step) for step in (0, 9, 10, 14)] == [0, 0, 1, 1]
