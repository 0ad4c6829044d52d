"""The preview of the loss mask: which messages are learned, which one is the label, and how many tokens they are."""

import json

import pytest

from chats import lines
from luthier.core import registry
from luthier.core.errors import InputError


def test_the_loss_mask_says_what_is_learned(store):
    row = {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "x" * 500},
            {"role": "assistant", "content": "first", "weight": 0},
            {"role": "user", "content": "and?"},
            {"role": "assistant", "content": "the second"},
        ]
    }
    info = store.create("t.jsonl", "fine-tune", [json.dumps(row).encode() + b"\n"] * 30)
    mask = store.loss_mask(info.id, limit=2)
    assert [message["trained"] for message in mask["rows"][1]["messages"]] == [False, False, False, False, True]
    assert [row["line"] for row in mask["rows"]] == [1, 2]
    assert len(mask["rows"][0]["messages"][1]["text"]) == 200
    assert mask["rows"][0]["messages"][1]["tokens"] == 125
    assert (mask["total_rows"], mask["trainable_tokens"], mask["estimated"]) == (30, 90, False)
    assert mask["trainable_tokens"] == store.facts(info.id)["trainable_tokens"]


def _trained(mask):
    return [[message["trained"] for message in row["messages"]] for row in mask["rows"]]


def test_the_loss_mask_of_labels_shows_the_one_message_that_a_classifier_learns(store):
    said = [("assistant", "hi"), ("user", "my card"), ("assistant", "{label}"), ("user", "thanks"), ("assistant", "you are welcome")]
    weights = {4: 0}
    rows = []
    for label in ("card", "refund") * 10:
        messages = [{"role": role, "content": text.format(label=label)} for role, text in said]
        rows.append({"messages": [one | ({"weight": weights[n]} if n in weights else {}) for n, one in enumerate(messages)]})
    info = store.create("t.jsonl", "fine-tune", [b"".join(json.dumps(row).encode() + b"\n" for row in rows)])
    assert store.facts(info.id)["labels"] == ["card", "refund"], "the last reply of weight 1"
    mask = store.loss_mask(info.id, limit=1)
    assert (mask["task"], mask["rows"][0]["label"]) == ("text-classification", 2)
    assert _trained(mask) == [[False, False, True, False, False]]
    assert mask["trainable_tokens"] == 10 * (1 + 2)
    writer = store.loss_mask(info.id, limit=1, architecture="decoder")
    assert (writer["task"], writer["rows"][0]["label"]) == ("chat", None)
    assert _trained(writer) == [[True, False, True, False, False]]
    assert [row.values["label"] for row in registry.get("formats", "openai-chat").rows(store.path(info.id))][:2] == ["card", "refund"]


def test_the_loss_mask_of_free_replies_has_no_label(store):
    info = store.create("t.jsonl", "fine-tune", [lines(12, reply=[f"answer {n}" for n in range(12)])])
    mask = store.loss_mask(info.id, limit=1)
    assert (mask["task"], mask["rows"][0]["label"], _trained(mask)) == ("chat", None, [[False, True]])


def test_the_loss_mask_of_prompts_and_completions(store):
    rows = b"".join(b'{"prompt": "message %d", "completion": " %s"}\n' % (n, b"ab"[n % 2 : n % 2 + 1]) for n in range(12))
    mask = store.loss_mask(store.create("t.jsonl", "fine-tune", [rows]).id, limit=1)
    assert (mask["task"], mask["rows"][0]["label"], _trained(mask)) == ("text-classification", 1, [[False, True]])


def test_the_loss_mask_of_a_large_file_is_estimated(store, monkeypatch):
    monkeypatch.setattr("luthier.app.loss_mask.READ_BYTES", 1000)
    info = store.create("t.jsonl", "fine-tune", [lines(400)])
    mask = store.loss_mask(info.id, limit=5)
    assert mask["estimated"]
    assert mask["trainable_tokens"] == pytest.approx(400, rel=0.1)


def test_the_loss_mask_counts_with_a_tokenizer(store, tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1, "message": 2, "[UNK]": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "tokenizer.json"))
    info = store.create("t.jsonl", "fine-tune", [lines(10, text="a b message {n}")])
    assert [one["tokens"] for one in store.loss_mask(info.id, tmp_path)["rows"][0]["messages"]] == [4, 1]
    words.enable_padding(length=128)
    words.enable_truncation(2)
    words.save(str(tmp_path / "tokenizer.json"))
    mask = store.loss_mask(info.id, tmp_path)
    assert [one["tokens"] for one in mask["rows"][0]["messages"]] == [4, 1]
    assert (mask["total_tokens"], mask["trainable_tokens"]) == (50, 10)


def test_of_a_pair_the_preferred_answer_is_the_one_that_is_learned(store):
    said = [[{"role": "assistant", "content": text}] for text in ("right away", "never")]
    asked = [{"role": "user", "content": "when?"}, {"role": "assistant", "content": "who asks?"}, {"role": "user", "content": "me"}]
    row = {"input": {"messages": asked}, "preferred_output": said[0], "non_preferred_output": said[1]}
    mask = store.loss_mask(store.create("t.jsonl", "fine-tune", [json.dumps(row).encode() + b"\n"] * 12).id)
    assert (mask["kind"], mask["task"], mask["rows"][0]["label"]) == ("preference", "preference", None)
    assert [message["trained"] for message in mask["rows"][0]["messages"]] == [False, False, False, True, False]


def test_a_table_has_no_loss_mask(store):
    info = store.create("r.csv", "fine-tune", [b"text,label\n" + b"x,a\n" * 12])
    with pytest.raises(InputError, match="a table has no messages"):
        store.loss_mask(info.id)
    bad = store.create("t.jsonl", "fine-tune", [b"{"])
    with pytest.raises(InputError, match="is not valid: line 1"):
        store.loss_mask(bad.id)
