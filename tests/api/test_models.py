"""Models by OpenAI's own client: list, retrieve, delete, by every kind of name."""

from __future__ import annotations

import urllib.request
from typing import Any

import openai
import pytest


def test_everything_is_listed_and_ends(live: Any) -> None:
    found = {model.id: model for model in live.openai().models.list()}
    assert found[live.deployed].luthier["kind"] == "endpoint"
    assert found[live.tuned].luthier["kind"] == "tuned"
    assert found[live.step].luthier["kind"] == "checkpoint"
    assert found["all-minilm-l6-v2"].owned_by == "sentence-transformers"
    assert [model.id for model in live.azure().models.list()] == list(found)


def test_a_model_has_the_fields_of_both(live: Any) -> None:
    for client in (live.openai(), live.azure()):
        model = client.models.retrieve(live.tuned)
        assert (model.id, model.object, model.status, model.model) == (live.tuned, "model", "succeeded", "all-minilm-l6-v2")
        assert model.created == model.created_at > 0
        assert model.capabilities["chat_completion"] is True
        assert model.deprecation == {"fine_tune": None, "inference": None}


@pytest.mark.parametrize("written", ["sentence-transformers/all-MiniLM-L6-v2", "sentence-transformers%2Fall-MiniLM-L6-v2", "MiniLM-L6"])
def test_a_name_may_hold_a_slash_and_be_an_alias(live: Any, written: str) -> None:
    with urllib.request.urlopen(f"{live.address}/v1/models/{written}") as answer:
        assert answer.status == 200


@pytest.mark.parametrize("name", ["never-heard-of", "a/b/c", "%00", "x" * 301, "..%2f..%2fetc", "%F0%28"])
def test_an_unknown_name_is_never_a_defect(live: Any, name: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{live.address}/v1/models/{name}")
    assert caught.value.code in (400, 404)


def test_what_is_deployed_or_belongs_to_everybody_stays(live: Any) -> None:
    with pytest.raises(openai.ConflictError) as caught:
        live.openai().models.delete(live.tuned)
    assert caught.value.response.headers["x-should-retry"] == "false"
    with pytest.raises(openai.PermissionDeniedError):
        live.openai().models.delete("all-minilm-l6-v2")
    live.service.deployments.delete(live.deployed)
    gone = live.openai().models.delete(live.tuned)
    assert (gone.id, gone.deleted) == (live.tuned, True)
    with pytest.raises(openai.NotFoundError):
        live.openai().chat.completions.create(model=live.tuned, messages=[{"role": "user", "content": "a"}])
