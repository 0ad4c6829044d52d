from __future__ import annotations

import pytest

from luthier.app.varying import title, varied, ways
from luthier.core.errors import InputError, SpecError
from luthier.core.spec import make_spec


def test_a_grid_is_every_combination_and_more_come_after_it() -> None:
    assert ways(["train.method=full,top", "train.epochs=1,2"], ["train.loss=focal train.epochs=3"]) == [
        ["train.method=full", "train.epochs=1"],
        ["train.method=full", "train.epochs=2"],
        ["train.method=top", "train.epochs=1"],
        ["train.method=top", "train.epochs=2"],
        ["train.loss=focal", "train.epochs=3"],
    ]
    assert ways([]) == [[]]
    assert ways([], ["train.loss=focal"]) == [[], ["train.loss=focal"]]


def test_a_list_is_one_value() -> None:
    assert ways(["train.lora_targets=[query, value],[query]"]) == [["train.lora_targets=[query, value]"], ["train.lora_targets=[query]"]]


@pytest.mark.parametrize("wrong", ["train.epochs", "train.epochs=", "=1,2", "train.epochs=1,,2"])
def test_what_is_no_field_and_its_values_is_said(wrong: str) -> None:
    with pytest.raises(InputError, match="is not a field and its values"):
        ways([wrong])


def test_a_grid_that_nobody_meant_is_refused() -> None:
    with pytest.raises(InputError, match="100 ways"):
        ways([f"train.epochs={','.join(map(str, range(1, 11)))}", f"train.seed={','.join(map(str, range(10)))}"])


def test_each_way_has_a_name_that_tells_it() -> None:
    spec = make_spec({"name": "support", "train": {"epochs": 2}})
    made = varied(spec, ["train.class_weights=none", "evaluate.folds=3"])
    assert (made.name, made.train) == ("support-class-weights-none-folds-3", {"epochs": 2, "class_weights": "none"})
    assert title(["train.loss=focal", "name=x"]) == "loss=focal, name=x"
    assert spec.train == {"epochs": 2}


def test_a_value_that_cannot_be_is_refused_with_its_place() -> None:
    with pytest.raises(SpecError) as caught:
        varied(make_spec({}), ["train.class_weights=lots"], "r.yaml")
    assert caught.value.path == "r.yaml: train.class_weights"
