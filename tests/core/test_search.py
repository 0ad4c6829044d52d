from __future__ import annotations

import pytest

from luthier.core.errors import InputError
from luthier.core.search import read_axis


@pytest.mark.parametrize(
    ("text", "kind", "edges"),
    [
        ("train.learning_rate=log:1e-5:1e-3", "log", (1e-5, 1e-3)),
        ("train.dropout=0:0.3", "linear", (0.0, 0.3)),
        ("train.epochs=int:2:6", "int", (2, 6)),
        ("train.batch_tokens=320,640", "choice", (320, 640)),
        ("train.learning_rate=1e-4, 2e-4", "choice", (1e-4, 2e-4)),
        ("train.class_weights=none,balanced", "choice", ("none", "balanced")),
        ("train.fitted_head=true,false", "choice", (True, False)),
    ],
)
def test_what_is_written_is_read_and_written_again(text: str, kind: str, edges: tuple[object, ...]) -> None:
    axis = read_axis(text)
    assert (axis.kind, axis.edges()) == (kind, edges)
    assert read_axis(f"{axis.field}={axis.as_text()}") == axis
    assert all(axis.holds(edge) for edge in edges)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train.epochs", "is not a field and its values"),
        ("train.epochs=3", "is neither a range nor several values"),
        ("train.epochs=1:2:3", "is neither a range nor several values"),
        ("train.epochs=int:1.5:3", "are not two numbers"),
        ("train.learning_rate=log:0:1", "and above 0"),
        ("train.dropout=0.3:0.1", "the first must be below the second"),
        ("train.epochs=2,2", "stands there twice"),
    ],
)
def test_what_is_no_axis_is_said(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read_axis(text)
    assert "write field=" in caught.value.hint


def test_an_axis_knows_what_it_may_try() -> None:
    epochs, choice = read_axis("train.epochs=int:2:6"), read_axis("train.x=1,2")
    assert epochs.holds(4.0)
    assert not epochs.holds(4.5)
    assert not epochs.holds(7)
    assert not epochs.holds("many")
    assert not choice.holds(True)


def test_a_setting_can_be_read_again() -> None:
    assert read_axis("train.learning_rate=log:1e-5:1e-3").setting(3.3e-05) == "train.learning_rate=3.3e-05"
    assert read_axis("train.class_weights=none,auto").setting("none") == "train.class_weights=none"
