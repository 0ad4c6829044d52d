"""Word vectors whose gradient holds the used rows only: the same numbers as a dense gradient, and gone without a trace afterwards."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from luthier.networks.encoder_classifier import EncoderClassifier
from luthier.networks.touched_rows import TouchedRows, put_in, take_out

WORDS, WIDTH = 60, 32


@pytest.fixture
def model() -> EncoderClassifier:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    shape = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": WORDS}
    config = BertConfig(**shape, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    return EncoderClassifier(BertModel(config, add_pooling_layer=False), 3).train()


def _batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Words that come twice, and padding."""
    ids = torch.tensor([[5, 7, 7, 9, 0, 0], [7, 30, 31, 5, 32, 5]])
    return ids, (ids > 0).long(), torch.tensor([0, 2])


def _backward(model: EncoderClassifier) -> torch.Tensor:
    ids, mask, labels = _batch()
    loss: torch.Tensor = nn.functional.cross_entropy(model(ids, mask)["logits"], labels)
    loss.backward()
    return loss.detach()


def _table(model: EncoderClassifier) -> Any:
    return model.trunk.get_input_embeddings()


def test_used_rows_get_the_gradient_of_a_dense_table(model: EncoderClassifier) -> None:
    dense_loss = _backward(model)
    dense = _table(model).weight.grad.clone()
    others = {name: p.grad.clone() for name, p in model.named_parameters() if "word_embeddings" not in name}
    model.zero_grad()
    stand_in = put_in(model.trunk)
    assert stand_in is not None
    assert torch.equal(_backward(model), dense_loss)
    assert stand_in.touched is not None
    used, rows = stand_in.touched
    assert used.tolist() == [0, 5, 7, 9, 30, 31, 32]
    assert rows.grad is not None
    torch.testing.assert_close(rows.grad, dense[used], rtol=1e-5, atol=1e-8)
    unused = torch.ones(WORDS, dtype=torch.bool)
    unused[used] = False
    assert not dense[unused].any()
    assert stand_in.weight.grad is None
    for name, parameter in model.named_parameters():
        if name in others:
            torch.testing.assert_close(parameter.grad, others[name], rtol=1e-5, atol=1e-8)


def test_a_step_moves_the_same_rows_as_a_dense_step(model: EncoderClassifier) -> None:
    _backward(model)
    expected = (_table(model).weight - 0.5 * _table(model).weight.grad).detach()
    model.zero_grad()
    stand_in = put_in(model.trunk)
    assert stand_in is not None
    _backward(model)
    assert stand_in.touched is not None
    used, rows = stand_in.touched
    with torch.no_grad():
        stand_in.weight.index_add_(0, used, rows.grad, alpha=-0.5)
    take_out(model.trunk, stand_in)
    torch.testing.assert_close(_table(model).weight.detach(), expected, rtol=1e-5, atol=1e-7)


def test_outside_training_it_is_a_plain_table(model: EncoderClassifier) -> None:
    ids, mask, _ = _batch()
    model.eval()
    with torch.no_grad():
        before = model(ids, mask)["logits"]
    stand_in = put_in(model.trunk)
    assert stand_in is not None
    with torch.no_grad():
        assert torch.equal(model(ids, mask)["logits"], before)
    model.train()
    with torch.no_grad():
        model(ids, mask)
    assert stand_in.touched is None


def test_taking_it_out_leaves_the_model_as_it_was(model: EncoderClassifier) -> None:
    table = _table(model)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learning = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    stand_in = put_in(model.trunk)
    assert isinstance(_table(model), TouchedRows)
    assert not table.weight.requires_grad
    _backward(model)
    take_out(model.trunk, stand_in)
    assert _table(model) is table
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == learning
    assert model.state_dict().keys() == state.keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_taking_out_nothing_does_nothing(model: EncoderClassifier) -> None:
    table = _table(model)
    take_out(model.trunk, None)
    assert _table(model) is table


def _frozen(model: EncoderClassifier) -> None:
    _table(model).weight.requires_grad_(False)


def _shared(model: EncoderClassifier) -> None:
    model.trunk.output = nn.Linear(WIDTH, WORDS, bias=False)
    model.trunk.output.weight = _table(model).weight


def _normed(model: EncoderClassifier) -> None:
    _table(model).max_norm = 1.0


@pytest.mark.parametrize("change", [_frozen, _shared, _normed])
def test_tables_that_need_a_whole_gradient_are_left_alone(model: EncoderClassifier, change: Any) -> None:
    change(model)
    table, learns = _table(model), _table(model).weight.requires_grad
    assert put_in(model.trunk) is None
    assert _table(model) is table
    assert table.weight.requires_grad == learns


def test_a_trunk_without_word_vectors_is_left_alone() -> None:
    assert put_in(nn.Linear(2, 2)) is None
