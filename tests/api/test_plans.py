"""The dry run over HTTP: the plan of a recipe, from uploaded files and catalogued models only; nothing runs, no file name is tried out."""

from __future__ import annotations

import pytest

from luthier.core.plan import Plan

PLANS = "/api/v1/plans"


def test_a_recipe_becomes_a_plan_and_nothing_runs(records):
    before = records.get("/api/v1/runs").json()
    said = records.post(PLANS, json={"data": {"train": "made:support-messages"}, "train": {"method": "head", "effort": "quick"}})
    plan = Plan.model_validate(said.json())
    assert plan.train.method == "head"
    assert plan.data.train == ["made:support-messages"]
    assert plan.origins["train.method"] == "recipe"
    assert records.get("/api/v1/runs").json() == before


def test_the_same_recipe_has_the_same_plan_here_and_there(records):
    from luthier.core.spec import make_spec

    recipe = {"name": "try", "data": {"train": ["made:support-messages"]}, "train": {"epochs": 2}}
    ours = records.service.plan(make_spec(recipe), check_memory=False).model_dump(mode="json")
    theirs = records.post(PLANS, json=recipe).json()
    assert {key: theirs[key] for key in theirs if key != "notes"} == {key: ours[key] for key in ours if key != "notes"}


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"data": {"train": "/etc/passwd"}}, "is not a file of the server"),
        ({"data": {"train": ["made:support-messages", "pyproject.toml"]}}, "is not a file of the server"),
        ({"data": {"test": "../x"}}, "is not a file of the server"),
        ({"model": "/etc"}, "unknown model '/etc'"),
        ({"model": "./src"}, "unknown model './src'"),
        ({"model": ""}, "unknown model"),
        ({"model": "someone/something"}, "unknown model"),
        ({"model": "gpt2"}, "is a decoder model"),
        ({"task": "nothing"}, "unknown task"),
        ({"train": {"epoch": 3}}, "there is no such field"),
        ({"train": {"epochs": -3}}, "greater than 0"),
        ({"train": 3}, "dictionary"),
        ({"deploy": {"endpoint": "a b"}}, "cannot name an endpoint"),
        ({"ask": ["\0"]}, "NUL"),
        ({"evaluate": {"bars": {"x" * 5000: "y"}}}, "..."),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_is_a_sentence(records, recipe, said):
    answer = records.post(PLANS, json=recipe)
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["error"]["message"]
    assert len(answer.json()["error"]["message"]) < 1000


def test_an_unknown_made_data_set_is_404(records):
    assert records.post(PLANS, json={"data": {"train": "made:nothing"}}).status_code == 404


@pytest.mark.parametrize("body", [b"", b"[]", b"3", b'{"ask": ["\\ud83d"]}', b'{"a": ' + b"[" * 100_000, b'{"name": "\xff"}'])
def test_a_body_that_is_none_is_400(records, body):
    assert records.post(PLANS, content=body, headers={"content-type": "application/json"}).status_code == 400
