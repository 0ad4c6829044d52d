"""Templates say what transformers says, know where an answer stands, and can do no harm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from luthier.core import chat_template
from luthier.core.chat_template import ChatTemplate
from luthier.core.errors import InputError, RowError

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
    {%- endif %}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] %}
    {{- '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"""
WITH_TOOLS = """{%- if tools %}<|im_start|>system
# Tools
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}<|im_end|>
{% endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\n' }}{% if message.role == 'assistant' %}{% generation %}{{ message.content }}
{%- for tool_call in message.tool_calls or [] %}
<tool_call>{"name": "{{ tool_call.function.name }}", "arguments": {{ tool_call.function.arguments | tojson }}}</tool_call>
{%- endfor %}{% endgeneration %}{% else %}{{ message.content }}{% endif %}{{- '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
MARKS = {"bos_token": "<bos>", "eos_token": "<eos>"}
TALK = [
    {"role": "user", "content": "Where is my order?"},
    {"role": "assistant", "content": "On its way.", "weight": 0},
    {"role": "user", "content": "  When? größe 🎻"},
    {"role": "assistant", "content": "Tomorrow."},
]
TOOLS = [{"type": "function", "function": {"name": "track", "parameters": {"type": "object", "properties": {"id": {"type": "string"}}}}}]
CALLING = [
    {"role": "user", "content": "Track 7"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "track", "arguments": '{"id": "7"}'}}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "at the gate"},
    {"role": "assistant", "content": "It is at the gate."},
]


def _theirs(template: str, messages: list[dict[str, Any]], tools: list[Any] | None, *, asks: bool) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    found, _ = render_jinja_template([messages], tools, chat_template=template, add_generation_prompt=asks, **MARKS)
    return str(found[0])


@pytest.mark.parametrize("asks", [True, False])
@pytest.mark.parametrize("template", [CHATML, GEMMA, WITH_TOOLS])
def test_the_text_is_that_of_transformers(template: str, asks: bool) -> None:
    plain = [{key: value for key, value in one.items() if key != "weight"} for one in TALK]
    assert ChatTemplate(template, "its own", MARKS).rendered(TALK, asks=asks) == _theirs(template, plain, None, asks=asks)


def test_tools_are_told_as_transformers_tells_them() -> None:
    theirs = json.loads(json.dumps(CALLING))
    theirs[1]["tool_calls"][0]["function"]["arguments"] = {"id": "7"}
    theirs[1]["content"] = ""
    assert ChatTemplate(WITH_TOOLS, "its own", MARKS).rendered(CALLING, TOOLS) == _theirs(WITH_TOOLS, theirs, TOOLS, asks=False)


def test_a_template_without_tools_gets_them_as_text() -> None:
    said = ChatTemplate(CHATML, "its own").rendered(CALLING, TOOLS)
    assert said.startswith("<|im_start|>system\nYou can call these tools")
    assert '<tool_call>{"name": "track", "arguments": {"id": "7"}}</tool_call><|im_end|>' in said
    with_system = ChatTemplate(CHATML, "its own").rendered([{"role": "system", "content": "Be kind."}, *CALLING], TOOLS)
    assert with_system.startswith("<|im_start|>system\nBe kind.\n\nYou can call")
    assert with_system.count("<|im_start|>system") == 1


@pytest.mark.parametrize("template", [CHATML, GEMMA, chat_template.PLAIN_TEMPLATE])
def test_answers_are_cut_out_exactly(template: str) -> None:
    made = ChatTemplate(template, "its own", MARKS)
    found = made.segments(TALK)
    assert "".join(one.text for one in found) == made.rendered(TALK)
    learned = [one.text for one in found if one.learned]
    assert len(learned) == 1
    assert learned[0].startswith("Tomorrow.")
    assert learned[0] == learned[0].rstrip()
    assert not any("way" in one.text and one.learned for one in found)
    before = "".join(one.text for one in found[: [one.learned for one in found].index(True)])
    assert before == made.rendered(TALK[:3], asks=True)


def test_an_answer_that_is_written_otherwise_later_is_read_only() -> None:
    forgetful = (
        "{% for m in messages %}[{{ m.role }}]{% if m.role != 'assistant' or loop.last %}{{ m.content }}{% endif %}|{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    found = ChatTemplate(forgetful, "its own").segments([{**one, "weight": 1} for one in TALK])
    assert [one.text for one in found if one.learned] == ["Tomorrow.|"]


def test_what_a_template_says_against_messages_is_told() -> None:
    with pytest.raises(RowError, match="System role not supported"):
        ChatTemplate(GEMMA, "its own", MARKS).rendered([{"role": "system", "content": "x"}, *TALK])


def test_a_template_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(InputError, match="chat template cannot be read"):
        ChatTemplate("{% for %}", "its own").rendered(TALK)


@pytest.mark.parametrize("source", ["{{ messages.__class__.__mro__ }}", "{{ cycler.__init__.__globals__.os.popen('id').read() }}"])
def test_a_template_cannot_reach_out(source: str) -> None:
    with pytest.raises(RowError, match="refuses"):
        ChatTemplate(source, "its own").rendered(TALK)


def test_a_template_cannot_change_what_it_is_given() -> None:
    with pytest.raises(RowError, match="refuses"):
        ChatTemplate("{{ messages.append(1) }}", "its own").rendered(TALK)


def test_where_a_folder_keeps_its_template(tmp_path: Path) -> None:
    assert chat_template.of(tmp_path).name == chat_template.PLAIN
    config = {
        "chat_template": [{"name": "tool_use", "template": "no"}, {"name": "default", "template": CHATML}],
        "eos_token": {"content": "<e>"},
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert chat_template.of(tmp_path).source == CHATML
    assert chat_template.of(tmp_path).marks == {"eos_token": "<e>"}
    assert chat_template.end_words(tmp_path) == ["<e>"]
    (tmp_path / "chat_template.jinja").write_text(GEMMA)
    assert chat_template.of(tmp_path).source == GEMMA
    (tmp_path / "config.json").write_text('{"eos_token_id": [5, 6]}')
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": 7}')
    assert chat_template.end_ids(tmp_path) == [7, 5, 6]
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        chat_template.of(tmp_path)
