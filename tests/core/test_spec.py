"""Recipes: what people write in YAML and in ``--set``, and what they are told when it is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from luthier.core.errors import InputError, SpecError
from luthier.core.plan import DeployPlan, Plan
from luthier.core.spec import SECTIONS, Spec, make_spec, override, read_spec

RECIPES = Path(__file__).parents[2] / "recipes"


def refused(data: dict[str, Any], where: str = "") -> SpecError:
    with pytest.raises(SpecError) as caught:
        make_spec(data, where)
    return caught.value


def recipe(folder: Path, text: str) -> Path:
    path = folder / "reviews.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("data", "path", "meant"),
    [
        ({"train": {"lerning_rate": 1e-4}}, "train.lerning_rate", "learning_rate"),
        ({"train": {"epoch": 3}}, "train.epoch", "epochs"),
        ({"prepare": {"test_shere": 0.2}}, "prepare.test_shere", "test_share"),
        ({"evaluate": {"bar": {"macro_f1": 0.8}}}, "evaluate.bar", "bars"),
        ({"export": {"runtime": ["onnx"]}}, "export.runtime", "runtimes"),
        ({"deploy": {"endpont": "a"}}, "deploy.endpont", "endpoint"),
        ({"data": {"tran": "a.csv"}}, "data.tran", "train"),
        ({"trian": {"epochs": 3}}, "trian", "train"),
        ({"modell": "x"}, "modell", "model"),
    ],
)
def test_a_typing_error_is_answered_with_what_was_meant(data: dict[str, Any], path: str, meant: str) -> None:
    error = refused(data)
    assert error.path == path
    assert str(error) == f"{path}: there is no such field"
    assert error.hint == f"did you mean {meant!r}?"


def test_an_unknown_section_or_field_without_a_near_name_lists_the_known_ones() -> None:
    assert refused({"zzzz": {}}).hint == "known fields: " + ", ".join(Spec.model_fields)
    hint = refused({"deploy": {"zzzz": 1}}).hint
    assert hint == "known fields: " + ", ".join(DeployPlan.model_fields)


@pytest.mark.parametrize(
    ("data", "path", "said"),
    [
        ({"train": {"epochs": "three"}}, "train.epochs", "valid number"),
        ({"train": {"epochs": 0}}, "train.epochs", "greater than 0"),
        ({"train": {"learning_rate": float("nan")}}, "train.learning_rate", "nan"),
        ({"train": {"device": "gpu"}}, "train.device", "'auto', 'cpu' or 'cuda'"),
        ({"train": {"effort": "bst"}}, "train.effort", "'quick', 'standard' or 'best'"),
        ({"train": {"seed": 1.5}}, "train.seed", "integer"),
        ({"prepare": {"validation_share": 0.5}}, "prepare.validation_share", "less than 0.5"),
        ({"prepare": {"mask": "perhaps"}}, "prepare.mask", "boolean"),
        ({"evaluate": {"bars": {"macro_f1": "high"}}}, "evaluate.bars.macro_f1", "'high'"),
        ({"evaluate": {"costs": {"a": {"b": "x"}}}}, "evaluate.costs.a.b", "'x'"),
        ({"data": {"train": 5}}, "data.train", "list"),
        ({"name": 5}, "name", "string"),
    ],
)
def test_a_wrong_value_is_named_with_its_dotted_path(data: dict[str, Any], path: str, said: str) -> None:
    error = refused(data)
    assert error.path == path
    assert said in str(error)
    assert "(got " in str(error)
    assert error.hint


def test_the_recipe_that_holds_the_error_is_named(tmp_path: Path) -> None:
    path = recipe(tmp_path, "train:\n  lerning_rate: 1e-4\n")
    with pytest.raises(SpecError) as caught:
        read_spec(path)
    assert str(caught.value) == f"{path}: train.lerning_rate: there is no such field"
    assert caught.value.hint == "did you mean 'learning_rate'?"


def test_only_what_was_written_is_in_a_spec() -> None:
    spec = make_spec({"train": {"epochs": 3, "lora_rank": None}, "data": {"train": "a.csv"}, "prepare": None})
    assert dict(spec.written()) == {"data.train": ["a.csv"], "train.epochs": 3.0}
    assert list(Spec().written()) == []


def test_a_written_default_stays_written() -> None:
    assert dict(make_spec({"train": {"seed": 17}}).written()) == {"train.seed": 17}


def test_every_setting_of_a_plan_can_be_written() -> None:
    whole = Plan(name="a", task="b", model="c").model_dump(include=set(SECTIONS))
    spec = make_spec(whole)
    assert {section: getattr(spec, section) for section in SECTIONS} == whole


@pytest.mark.parametrize("key", ["train", "validation", "test"])
def test_one_file_needs_no_list(key: str) -> None:
    assert make_spec({"data": {key: "a.csv"}}).data[key] == ["a.csv"]
    assert make_spec({"data": {key: ["a.csv", "b.csv"]}}).data[key] == ["a.csv", "b.csv"]


def test_yaml_rest_and_keywords_are_one_spec(tmp_path: Path) -> None:
    body = {"name": "a", "task": "text-classification", "data": {"train": "made:x"}, "train": {"learning_rate": 1e-4}, "ask": ["hi"]}
    text = "name: a\ntask: text-classification\ndata: {train: 'made:x'}\ntrain:\n  learning_rate: 1e-4\nask: [hi]\n"
    assert read_spec(recipe(tmp_path, text)) == make_spec(json.loads(json.dumps(body))) == Spec(**body)


def test_a_spec_can_be_made_again_from_itself() -> None:
    spec = make_spec({"name": "a", "train": {"epochs": 3}, "data": {"train": "a.csv"}})
    assert make_spec(spec.model_dump()) == spec
    assert make_spec(spec.model_dump(exclude_unset=True)) == spec


def test_a_recipe_without_a_name_has_its_files(tmp_path: Path) -> None:
    assert read_spec(recipe(tmp_path, "task: text-classification\n")).name == "reviews"
    assert read_spec(recipe(tmp_path, "name: mine\n")).name == "mine"


def test_data_beside_the_recipe_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    text = "data:\n  train: [a.csv, elsewhere.csv, /abs/b.csv, 'made:support-messages']\n  test: a.csv\n"
    found = read_spec(recipe(tmp_path, text)).data
    assert found["train"] == [str(tmp_path / "a.csv"), "elsewhere.csv", "/abs/b.csv", "made:support-messages"]
    assert found["test"] == [str(tmp_path / "a.csv")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"train: [1", "not YAML"),
        (b"train:\n\tepochs: 3\n", "not YAML"),
        (b"\xff\xfe\x00", "not YAML"),
        (b"!!python/object/apply:os.system ['true']", "not YAML"),
        (b"- a\n- b\n", "a recipe is a mapping, this is list"),
        (b"", "a recipe is a mapping"),
        (b"just words", "a recipe is a mapping, this is str"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, text: bytes, said: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(text)
    with pytest.raises(InputError, match=said) as caught:
        read_spec(path)
    assert str(path) in str(caught.value)
    assert caught.value.hint


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such recipe") as caught:
        read_spec(tmp_path / "none.yaml")
    assert "luthier run" in caught.value.hint


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_our_recipes_can_be_read(path: Path) -> None:
    spec = read_spec(path)
    assert spec.name
    assert spec.data["train"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("train.learning_rate=1e-4", 1e-4),
        ("train.learning_rate=+1e-4", 1e-4),
        ("train.learning_rate=1E-4", 1e-4),
        ("train.learning_rate=.5e-3", 5e-4),
        ("train.learning_rate=0.0001", 1e-4),
        ("train.epochs=3", 3.0),
        ("train.seed=3", 3),
        ("train.fitted_head=yes", True),
        ("train.fitted_head=false", False),
        ("train.method=lora", "lora"),
        ("train.lora_targets=[query, key]", ["query", "key"]),
        ("evaluate.bars.macro_f1=8e-1", {"macro_f1": 0.8}),
        ("data.train=made:support-messages", ["made:support-messages"]),
        ("data.map.text=body=1", {"text": "body=1"}),
        ("data.group=10.0.0.1", "10.0.0.1"),
        ("data.group=1e-4x", "1e-4x"),
    ],
)
def test_settings_from_the_command_line(setting: str, value: Any) -> None:
    section, name = setting.split("=")[0].split(".")[:2]
    found = getattr(make_spec(override({}, [setting])), section)[name]
    assert found == value
    assert type(found) is type(value)


def test_a_number_that_yaml_reads_as_text_is_a_number() -> None:
    assert make_spec(override({}, ["train.learning_rate=1e-4"])).train == {"learning_rate": 1e-4}
    spec = make_spec(override({}, ["name=1e4", "data.group=1e4"]))
    assert (spec.name, spec.data) == ("1e4", {"group": "1e4"}), "a text field takes it as it was written"


def test_settings_lie_over_the_recipe_and_the_last_one_wins() -> None:
    data = {"model": "a", "train": {"epochs": 3, "seed": 1}}
    spec = make_spec(override(data, ["train.epochs=5", "model=b", "train.epochs=6", "train.seed="]))
    assert (spec.model, spec.train) == ("b", {"epochs": 6.0})


def test_a_typing_error_in_a_setting_is_answered_like_one_in_a_recipe() -> None:
    assert refused(override({}, ["train.lerning_rate=1e-4"])).hint == "did you mean 'learning_rate'?"
    assert refused(override({}, ["trian.epochs=3"])).path == "trian"
    assert refused(override({}, ["train.learning_rate=fast"])).path == "train.learning_rate"


@pytest.mark.parametrize("setting", ["train.epochs", "train.epochs 3", "", "=3", "train.=3", ".epochs=3", "a..b=3"])
def test_what_is_not_a_setting(setting: str) -> None:
    with pytest.raises(InputError, match="is not a setting") as caught:
        override({}, [setting])
    assert "train.epochs=3" in caught.value.hint


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"train": 5}, "train"),
        ({"train": 0}, "train"),
        ({"train": "lora"}, "train"),
        ({"train": ["epochs", 3]}, "train"),
        ({"train": {1: 2}}, "train.1"),
        ({1: 2}, "1"),
    ],
)
def test_a_section_that_holds_no_fields_is_answered_with_how_to_write_them(data: dict[Any, Any], path: str) -> None:
    error = refused(data)
    assert error.path == path
    assert "(got " in str(error)
    assert error.hint == "write fields below it, e.g. train: {epochs: 3}"


@pytest.mark.parametrize(
    ("data", "setting", "path"),
    [
        ({"name": "a"}, "name.x=3", "name"),
        ({"train": {"epochs": 3}}, "train.epochs.x=3", "train.epochs"),
        ({"train": {"epochs": 3}}, "train.epochs.x.y=3", "train.epochs"),
        ({"train": 5}, "train.epochs=3", "train"),
        ({}, "train.metric=[1", "train.metric"),
        ({}, "name=2024-99-99", "name"),
    ],
)
def test_a_setting_that_has_no_place_or_no_value(data: dict[str, Any], setting: str, path: str) -> None:
    with pytest.raises(SpecError) as caught:
        override(data, [setting])
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path}: ")
    assert caught.value.hint


def test_a_setting_fills_an_empty_section() -> None:
    assert override({"train": None}, ["train.epochs=3"]) == {"train": {"epochs": 3}}


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_number_that_has_no_end_is_no_setting(value: float) -> None:
    assert refused({"train": {"epochs": value}}).path == "train.epochs"
    assert refused({"evaluate": {"bars": {"macro_f1": value}}}).path == "evaluate.bars.macro_f1"
    with pytest.raises(ValidationError):
        Plan(name="a", task="b", model="c", train={"epochs": value})  # type: ignore[arg-type]
