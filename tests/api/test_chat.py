"""Chats and completions by OpenAI's own client: whole and streamed, whose errors, and what a classifier makes of the parameters."""

from __future__ import annotations

import asyncio
import json
import math
import urllib.request
from enum import Enum
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from luthier.api.chat import text_classification
from luthier.core.errors import Overloaded
from luthier.stages.serve import engine

QUESTION = [{"role": "system", "content": "classify"}, {"role": "user", "content": "where is my parcel"}]


@pytest.fixture
def ask(live: Any) -> Any:
    """A chat call with the usual question."""

    def call(client: Any = None, **given: Any) -> Any:
        return (client or live.openai()).chat.completions.create(**{"model": live.tuned, "messages": QUESTION} | given)

    return call


def test_a_label_is_the_content_and_says_how_sure_it_is(live: Any, ask: Any) -> None:
    said = ask(logprobs=True, top_logprobs=3)
    (choice,) = said.choices
    (token,) = choice.logprobs.content
    assert (choice.finish_reason, choice.message.role) == ("stop", "assistant")
    assert choice.message.content == token.token == token.top_logprobs[0].token == said.luthier["label"]
    assert token.logprob == pytest.approx(math.log(said.luthier["confidence"]), abs=1e-4)
    assert bytes(token.bytes).decode() == token.token
    assert len(token.top_logprobs) == 3
    assert [one.logprob for one in token.top_logprobs] == sorted((one.logprob for one in token.top_logprobs), reverse=True)
    assert said.usage.prompt_tokens == 6
    assert (said.usage.completion_tokens, said.usage.total_tokens) == (1, 7)
    assert said.id.startswith("chatcmpl-")
    assert said.system_fingerprint == live.service.endpoints.get("support").export_id
    assert set(said.luthier) == {"id", "label", "confidence", "abstained", "out_of_scope", "latency_ms"}


def test_every_name_and_address_gives_the_same_answer(live: Any, ask: Any) -> None:
    first = ask()
    assert first.choices[0].logprobs is None
    clients = [
        (live.openai(), live.deployed), (live.openai(base_url=f"{live.address}/openai/v1"), live.tuned),
        (live.azure(), live.deployed), (live.azure(), live.tuned), (live.azure(azure_deployment=live.deployed), "not read"),
    ]  # fmt: skip
    for client, model in clients:
        said = ask(client, model=model)
        assert said.choices[0].message.content == first.choices[0].message.content
        assert said.luthier["id"] == first.luthier["id"]


@pytest.mark.parametrize(
    "written", ["ft%3Aall-minilm-l6-v2%3Aluthier%3Adesk%3A0123456789ab", "ft:all-minilm-l6-v2:luthier:desk:0123456789ab"]
)
def test_a_deployments_name_in_the_address_may_be_written_either_way_without_a_model(live: Any, written: str) -> None:
    address = f"{live.address}/openai/deployments/{written}/chat/completions?api-version=2024-10-21"
    call = urllib.request.Request(address, json.dumps({"messages": QUESTION}).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(call) as answer:
        assert json.load(answer)["model"] == live.tuned


def test_the_text_is_what_the_user_said_as_in_training(live: Any, ask: Any) -> None:
    parts = [{"type": "text", "text": "hello"}, {"type": "text", "text": "where is my parcel"}]
    history = [
        {"role": "user", "content": "hello"}, {"role": "assistant", "content": "yes?"}, {"role": "user", "content": "where is my parcel"}
    ]  # fmt: skip
    told = {ask(messages=messages).luthier["id"] for messages in ([{"role": "user", "content": parts}], history)}
    told.add(ask(messages=[{"role": "user", "content": "hello\nwhere is my parcel"}]).luthier["id"])
    assert len(told) == 1


def test_parameters_that_change_nothing_are_taken(ask: Any) -> None:
    plain = ask()
    given = {
        "temperature": 0.7, "top_p": 0.5, "max_tokens": 1, "max_completion_tokens": 10, "seed": 3, "user": "u", "metadata": {"a": "b"},
        "store": True, "stop": ["\n"], "n": 1, "presence_penalty": 1, "frequency_penalty": -1, "logit_bias": {"50256": -100},
        "service_tier": "auto", "reasoning_effort": "low", "parallel_tool_calls": False, "verbosity": "low", "tool_choice": "auto",
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    }  # fmt: skip
    assert ask(**given).luthier["id"] == plain.luthier["id"]
    assert ask(extra_body={"scores": True}).luthier["scores"][plain.choices[0].message.content] > 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"n": 2}, "one answer"),
        ({"extra_body": {"temprature": 1}}, "did you mean 'temperature'"),
        ({"temperature": 3}, "temperature"),
        ({"top_logprobs": 2}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "system", "content": "only"}]}, "no text of the user"),
        ({"messages": [{"role": "user", "content": "  "}]}, "no text of the user"),
        ({"messages": [{"role": "usr", "content": "a"}]}, "usr"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "image_url"),
        ({"messages": [{"role": "user", "content": 5}]}, "not text"),
        ({"modalities": ["audio"]}, "audio"),
        ({"tool_choice": "required"}, "tool"),
        ({"model": "all-minilm-l6-v2"}, "base model"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_reason(ask: Any, given: dict[str, Any], said: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(**given)
    assert said in caught.value.message
    with pytest.raises(openai.BadRequestError):
        ask(**given, stream=True)


def test_an_unknown_model_is_not_found_with_the_nearest(live: Any, ask: Any) -> None:
    for model in (live.tuned.replace("desk", "dsk"), "suport", "a/b", "x" * 300):
        with pytest.raises(openai.NotFoundError):
            ask(model=model)
        with pytest.raises(openai.NotFoundError):
            ask(live.azure(), model=model)
    with pytest.raises(openai.NotFoundError) as caught:
        ask(model="suport")
    assert "support" in caught.value.body["hint"]


def test_a_model_without_an_export_is_being_made_ready(live: Any, ask: Any) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        ask(model=live.step)
    assert (caught.value.status_code, caught.value.code) == (503, "model_not_ready")
    assert caught.value.response.headers["retry-after"] == "20"


# -- the form of the answer ---------------------------------------------------------------------------------------------


class _Answer(BaseModel):
    intent: str


def test_json_is_written_where_it_is_asked_for(ask: Any, live: Any) -> None:
    label = ask().choices[0].message.content
    assert json.loads(ask(response_format={"type": "json_object"}).choices[0].message.content) == {"label": label}
    parsed = live.openai().chat.completions.parse(model=live.tuned, messages=QUESTION, response_format=_Answer)
    assert parsed.choices[0].message.parsed == _Answer(intent=label)


def test_an_enum_is_a_text_too() -> None:
    class Intent(Enum):
        PARCEL = "parcel"

    class Answer(BaseModel):
        intent: Intent

    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": Answer.model_json_schema()}}
    assert text_classification._form(wanted)("parcel") == '{"intent": "parcel"}'


@pytest.mark.parametrize(
    "schema",
    [
        None,
        {},
        {"properties": 3},
        {"properties": {"a": {"type": "string"}, "b": {"type": "string"}}},
        {"properties": {"a": {"type": "integer"}}},
        {"properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["a", "b"]},
    ],
)
def test_a_schema_that_a_label_cannot_fill_gets_the_plain_label(schema: Any) -> None:
    assert text_classification._form({"type": "json_schema", "json_schema": {"schema": schema}})("parcel") == "parcel"


# -- streams ----------------------------------------------------------------------------------------------------------


def test_a_stream_is_what_clients_parse(ask: Any) -> None:
    label = ask().choices[0].message.content
    chunks = list(ask(stream=True, logprobs=True, stream_options={"include_usage": True}))
    assert [chunk.object for chunk in chunks] == ["chat.completion.chunk"] * 4
    assert len({chunk.id for chunk in chunks}) == 1
    role, content, finish, usage = chunks
    assert (role.choices[0].delta.role, role.choices[0].finish_reason) == ("assistant", None)
    assert content.choices[0].delta.content == content.choices[0].logprobs.content[0].token == label
    assert finish.choices[0].finish_reason == "stop"
    assert finish.luthier["label"] == label
    assert (usage.choices, usage.usage.prompt_tokens) == ([], 6)
    assert len(list(ask(stream=True))) == 3


def test_a_stream_ends_with_done(live: Any) -> None:
    body = json.dumps({"model": live.tuned, "messages": QUESTION, "stream": True}).encode()
    call = urllib.request.Request(f"{live.address}/v1/chat/completions", body, {"content-type": "application/json"})
    with urllib.request.urlopen(call) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.read().split(b"\n\n")
    assert lines[-2:] == [b"data: [DONE]", b""]


def test_an_error_in_the_middle_is_raised_by_the_client(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaking(model: Any, asked: Any) -> Any:
        yield text_classification.Piece(text="half")
        raise RuntimeError("secret text of a customer")

    monkeypatch.setattr(text_classification, "answer", breaking)
    stream = ask(stream=True)
    next(stream)
    assert next(stream).choices[0].delta.content == "half"
    with pytest.raises(openai.APIError) as caught:
        next(stream)
    assert "secret" not in str(caught.value)
    assert "defect" in str(caught.value)


def test_overload_has_its_status_even_for_a_stream(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(self: Any, examples: Any) -> Any:
        raise Overloaded("too many wait", "try again")

    monkeypatch.setattr(engine.Endpoint, "predict", full)
    with pytest.raises(openai.InternalServerError) as caught:
        ask(stream=True)
    assert caught.value.response.headers["retry-after"] == "1"


def test_a_client_that_leaves_harms_nobody(live: Any, ask: Any, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        stream = ask(stream=True)
        next(stream)
        stream.close()
    assert ask().choices
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_many_at_once_by_the_async_client(live: Any) -> None:
    async def every() -> list[Any]:
        async with AsyncOpenAI(base_url=f"{live.address}/v1", api_key="any", max_retries=0) as client:
            calls = [
                client.chat.completions.create(model=live.tuned, messages=[{"role": "user", "content": f"parcel {n}"}]) for n in range(20)
            ]
            answers = await asyncio.gather(*calls)
            stream = await client.chat.completions.create(model=live.deployed, messages=QUESTION, stream=True)
            return [*answers, [chunk async for chunk in stream]]

    *answers, chunks = asyncio.run(every())
    assert len({one.luthier["id"] for one in answers}) == 20
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_answers_of_a_model_that_is_no_endpoint_are_journaled_too(live: Any, ask: Any) -> None:
    told = ask(messages=[{"role": "user", "content": "my own question"}]).luthier["id"]
    live.app.state.tenants.host()._recorder.close()
    kept = [entry.body for entry in live.service.journal.all(names=("prediction.answered",)) if entry.body["id"] == told]
    assert [body["endpoint"] for body in kept] == [live.tuned]


# -- completions ------------------------------------------------------------------------------------------------------


def test_prompts_are_completed_in_order(live: Any) -> None:
    client = live.openai()
    said = client.completions.create(model=live.tuned, prompt=["where is my parcel", "i want my money back"], logprobs=2)
    one = client.completions.create(model=live.tuned, prompt="i want my money back", echo=True, logprobs=0)
    assert [choice.index for choice in said.choices] == [0, 1]
    assert one.choices[0].text == "i want my money back" + said.choices[1].text
    assert one.choices[0].logprobs.text_offset == [len("i want my money back")]
    assert len(said.choices[0].logprobs.top_logprobs[0]) == 2
    assert said.usage.completion_tokens == 2
    assert said.choices[0].luthier["confidence"] > 0
    chunks = list(client.completions.create(model=live.tuned, prompt=["a parcel", "money"], stream=True))
    assert [chunk.choices[0].index for chunk in chunks] == [0, 1]
    assert live.azure().completions.create(model=live.deployed, prompt="a").choices[0].finish_reason == "stop"


@pytest.mark.parametrize("prompt", ["", " ", [], [""], [1, 2], [[1, 2]], ["a"] * 257])
def test_prompts_that_cannot_be_completed(live: Any, prompt: Any) -> None:
    with pytest.raises(openai.BadRequestError):
        live.openai().completions.create(model=live.tuned, prompt=prompt)
