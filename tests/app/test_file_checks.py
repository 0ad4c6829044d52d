"""What a training file may hold: each kind's rules, the words that its breaches are told in, and the facts of good files."""

import json

import pytest

from luthier.app.file_checks import check_batch_file, check_training_file
from luthier.app.reply_census import ReplyCensus


def chat(user="where is my parcel", reply="parcel", **more):
    return {"messages": [{"role": "user", "content": user}, {"role": "assistant", "content": reply, **more}]}


def pair(spelling="output"):
    return {
        "input": {"messages": [{"role": "user", "content": "hello"}]},
        f"preferred_{spelling}": [{"role": "assistant", "content": "Hello!"}],
        f"non_preferred_{spelling}": [{"role": "assistant", "content": "What?"}],
    }


def called(**call):
    whole = {"id": "call_1", "type": "function", "function": {"name": "track", "arguments": "{}"}} | call
    return {
        "messages": [
            {"role": "user", "content": "where?"},
            {"role": "assistant", "tool_calls": [whole]},
            {"role": "tool", "tool_call_id": "call_1", "content": ""},
            {"role": "assistant", "content": "At the depot."},
        ],
        "tools": [{"type": "function", "function": {"name": "track", "parameters": {"type": "object"}}}],
    }


@pytest.fixture
def checked(tmp_path):
    """The verdict on rows (objects, or lines as they are), or on bytes."""

    def check(rows, name="train.jsonl"):
        path = tmp_path / ("blob" + name[name.rfind(".") :])
        if not isinstance(rows, bytes):
            rows = "\n".join(row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows).encode()
        path.write_bytes(rows)
        return check_training_file(path, name)

    return check


def test_chat_with_labels(checked):
    rows = [chat(f"message {n}", label) for n in range(6) for label in ("refund", "parcel")] + [chat(reply="refund")]
    facts = checked(rows).facts
    assert facts["kind"] == "chat"
    assert facts["rows"] == facts["trainable_rows"] == 13
    assert facts["reply"] == "labels"
    assert facts["labels"] == ["refund", "parcel"]
    assert facts["label_counts"] == {"refund": 7, "parcel": 6}
    assert facts["trainable_tokens"] == 26
    assert facts["tokens"] > facts["trainable_tokens"]


def test_a_chat_without_a_question_is_refused_where_the_replies_are_labels(checked):
    rows = [chat(f"message {n}", label) for n in range(6) for label in ("refund", "parcel")]
    silent = {"messages": [{"role": "system", "content": "be kind"}, {"role": "assistant", "content": "refund"}]}
    late = {"messages": [{"role": "assistant", "content": "refund"}, {"role": "user", "content": "where?"}]}
    verdict = checked([*rows, silent, rows[0], late])
    assert not verdict.facts
    assert verdict.details == "; ".join(
        f"line {line}: messages there is no text of the user before the reply that is the label: "
        "add a message with role 'user': it is what the classifier reads"
        for line in (13, 15)
    )
    assert "line 2: messages" in checked([rows[0], silent, "{", *rows]).details, "with the other faults"
    many = checked([silent] * 30 + rows)
    assert (many.bad_rows, len(many.problems)) == (30, 20)
    completions = [{"prompt": f"p{n}" if n else " ", "completion": f" {'ab'[n % 2]}"} for n in range(10)]
    assert checked(completions).details == "line 1: prompt is empty: write what the classifier reads"


def test_a_writer_may_begin_a_chat(checked):
    rows = [{"messages": [{"role": "assistant", "content": f"Good morning, number {n}!"}]} for n in range(10)]
    facts = checked(rows).facts
    assert (facts["reply"], facts["unasked_rows"]) == ("text", 10)


def test_the_label_is_the_last_reply_that_is_learned(checked):
    closing = [{"role": "user", "content": "thanks"}, {"role": "assistant", "content": "bye", "weight": 0}]
    rows = [{"messages": chat(f"message {n}", "ab"[n % 2])["messages"] + closing} for n in range(12)]
    assert checked(rows).facts["label_counts"] == {"a": 6, "b": 6}


@pytest.mark.parametrize(
    ("replies", "found"),
    [
        (["a", "b"] * 5, "labels"),
        (["a"] * 10, "text"),
        ([f"label {n}" for n in range(10)], "text"),
        (["a", "b" * 65] * 5, "text"),
        (["a", "b\nc"] * 5, "text"),
        (["a", ""] * 5, "text"),
        ([f"l{n}" for n in range(200)] * 3, "labels"),
        ([f"l{n}" for n in range(201)] * 3, "text"),
    ],
)
def test_labels_or_text(replies, found):
    census = ReplyCensus()
    for reply in replies:
        census.add(reply)
    assert census.facts()["reply"] == found


@pytest.mark.parametrize("row", [pair(), pair("completion")])
def test_preference(checked, row):
    facts = checked([row] * 10).facts
    assert (facts["kind"], facts["trainable_rows"], facts["trainable_tokens"]) == ("preference", 10, 20)


def test_completion_reinforcement_and_tables(checked):
    assert checked([{"prompt": f"p{n}", "completion": f" {'ab'[n % 2]}"} for n in range(10)]).facts["labels"] == ["a", "b"]
    asked = {"messages": [{"role": "user", "content": "2+2"}], "answer": "4"}
    assert checked([asked] * 10).facts["kind"] == "reinforcement"
    table = checked([{"text": f"t{n}", "label": "a", "stars": 3} for n in range(10)]).facts
    assert (table["kind"], table["columns"], table["format"]) == ("table", ["text", "label", "stars"], "jsonl")


@pytest.mark.parametrize(("name", "delimiter"), [("r.csv", ","), ("r.csv", ";"), ("r.tsv", "\t"), ("upload", ",")])
def test_delimited_tables(checked, name, delimiter):
    lines = [f"text{delimiter}label"] + [f"text {n}{delimiter}a" for n in range(12)]
    facts = checked("\n".join(lines).encode(), name).facts
    assert (facts["kind"], facts["rows"], facts["columns"]) == ("table", 12, ["text", "label"])


def test_parquet(checked, tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "made.parquet"
    parquet.write_table(pyarrow.table({"text": [f"t{n}" for n in range(10)], "label": ["a"] * 10}), path)
    assert checked(path.read_bytes(), "r.parquet").facts["format"] == "parquet"
    assert "line 1: " in checked(path.read_bytes()[:-9], "r.parquet").details


def test_a_byte_order_mark_windows_lines_blank_lines_and_tool_calls_are_fine(checked):
    body = "\r\n\r\n".join(json.dumps(one) for one in [called()] * 5 + [chat()] * 5)
    assert checked(b"\xef\xbb\xbf" + body.encode()).good


def test_nulls_that_clients_write_are_fine(checked):
    row = chat(tool_calls=None, function_call=None, refusal=None, weight=None, name=None)
    assert checked([row] * 10).good


ASKED = {"role": "user", "content": "a"}
BAD = [
    ({"messages": [{"role": "usr", "content": "a"}]}, "messages[0].role is 'usr': did you mean 'user'?"),
    ({"messages": [{"role": "human", "content": "a"}]}, "did you mean 'user'?"),
    ({"messages": [ASKED, {"role": "asistant", "content": "b"}]}, "messages[1].role is 'asistant': did you mean 'assistant'?"),
    ({"messages": [{"rolle": "user", "content": "a"}]}, "messages[0].role is missing: did you mean 'role' with rolle?"),
    ({"messages": [{"from": "human", "value": "a"}]}, "use role and content"),
    ({"messages": [{"role": 3, "content": "a"}]}, "messages[0].role is a number, not text"),
    ({"messages": [{"role": "user", "content": "a", "wieght": 1}]}, "messages[0].wieght is no known key: did you mean 'weight'?"),
    ({"messages": [{"role": "user", "content": "a", "weight": 1}]}, "messages[0].weight is set on a message of the role 'user'"),
    (chat(weight=2), "messages[1].weight is 2"),
    (chat(weight=True), "messages[1].weight is True"),
    (chat(weight="1"), "messages[1].weight is '1'"),
    (chat(weight=0), "every message of the assistant has weight 0"),
    (chat(reply=""), "messages[1].content is empty"),
    (chat(reply=None), "messages[1].content is missing"),
    (chat(reply=7), "messages[1].content is a number, not text"),
    (chat(user=""), "messages[0].content is empty"),
    (chat(user=[{"type": "text"}]), "messages[0].content[0].text is missing"),
    (chat(user=[{"type": "txt", "text": "a"}]), "messages[0].content[0].type is 'txt': did you mean 'text'?"),
    (chat(user=["a"]), "messages[0].content[0] is a text, not an object"),
    (chat(user=[{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]), "content[0].image_url.url is 'file:///etc/passwd'"),
    (chat(user=[{"type": "image_url", "image_url": {"url": "https://a/b", "detail": "hihg"}}]), "did you mean 'high'?"),
    ({"messages": [{"role": "user", "content": "a"}]}, "there is no message of the assistant"),
    ({"messages": []}, "messages is empty"),
    ({"messages": None}, "messages is missing"),
    ({"messages": {"role": "user"}}, "messages is an object, not an array"),
    ({"messages": ["a"]}, "messages[0] is a text, not an object"),
    ({"mesages": chat()["messages"]}, "mesages is no known key: did you mean 'messages'?"),
    ({"conversations": chat()["messages"]}, "did you mean 'messages'?"),
    (chat() | {"tols": [{"type": "function"}]}, "tols is no known key: did you mean 'tools'?"),
    (chat() | {"tools": []}, "tools is no array of 1 to 128 entries"),
    (chat() | {"tools": [{"type": "function"}]}, "tools[0].function is missing or no object"),
    (chat() | {"parallel_tool_calls": "yes"}, "parallel_tool_calls is a text"),
    (chat() | {"completion": "a"}, "completion is a key of another kind"),
    (called(id=""), "messages[1].tool_calls[0].id is missing"),
    (called(type="fun"), "messages[1].tool_calls[0].type is 'fun'"),
    (called(function={"name": "track", "arguments": {}}), "messages[1].tool_calls[0].function.arguments is no text"),
    (called(id="call_2"), "messages[2].tool_call_id is 'call_1', which no call before has: did you mean 'call_2'?"),
    ({"prompt": "a"}, "completion is missing"),
    ({"prompt": "a", "completions": "b"}, "did you mean 'completion'?"),
    ({"prompt": "a", "completion": ""}, "completion is empty"),
    ({"prompt": ["a"], "completion": "b"}, "prompt is an array, not text"),
    ({}, "is an empty object"),
    ('{"messages": [}', "is not JSON"),
    ('{"messages": NaN}', "holds NaN"),
    ('{"a": "b", "c": -Infinity}', "holds -Infinity"),
    ('{"a": "b", "c": 1e999}', "holds the number 1e999, which is too large"),
    ('{"a": "b", "c": ' + "9" * 5000 + "}", "holds a number of too many digits"),
    ('{"messages": [], "messages": []}', "messages is there twice"),
    ('{"messages": [{"role": "user", "role": "user", "content": "a"}]}', "role is there twice"),
    ('{"a": ' + "[" * 101 + "]" * 101 + "}", "is nested too deeply"),
    ('{"a": ' + "[" * 100_000 + "}", "is nested too deeply"),
    ('["a"]', "is an array, not an object"),
    ('"a"', "is a text, not an object"),
    (chat(reply="half \ud83d").__repr__().replace("'", '"').replace("\ud83d", "\\ud83d"), "half a character"),
    ('{"text": "a\\u0000b", "label": "x"}', "text holds a NUL character"),
    ({"text": {"de": "a"}, "label": "b"}, "text is an object"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "words"), BAD)
def test_a_bad_row_is_named(checked, row, words):
    like = (
        {"prompt": "p", "completion": "c"}
        if "prompt" in row
        else {"text": "t", "label": "l"}
        if isinstance(row, dict) and "text" in row
        else chat()
    )
    verdict = checked([like] * 10 + [row] + [like] * 3)
    assert verdict.bad_rows == 1, verdict.details
    assert verdict.details.startswith("line 11: ")
    assert words in verdict.details
    assert not checked([row] * 12).good, "alone it must not pass either"


PREFERENCE_BAD = [
    (lambda row: row.pop("input"), "input is missing"),
    (lambda row: row.pop("preferred_output"), "preferred_output is missing"),
    (lambda row: row.update(preferred_completion=row["preferred_output"]), "preferred_output is there beside preferred_completion"),
    (lambda row: row.update(non_preferred_output=[]), "non_preferred_output is empty"),
    (lambda row: row["preferred_output"][0].update(role="user"), "preferred_output[0].role is 'user'"),
    (lambda row: row.update(note="x"), "note is no known key"),
    (lambda row: row["input"].update(messages="a"), "input.messages is a text, not an array"),
    (lambda row: row.pop("non_preferred_output"), "non_preferred_output is missing: write"),
    (lambda row: row.update(non_preferred_output=row["preferred_output"]), "says the same as preferred_output: give two different answers"),
    (lambda row: row["input"]["messages"][0].update(role="assistant"), "input.messages nobody says anything before the answers: add a"),
]


@pytest.mark.parametrize(("spoil", "words"), PREFERENCE_BAD)
def test_a_bad_pair_is_named(checked, spoil, words):
    row = pair()
    spoil(row)
    details = checked([pair()] * 10 + [row]).details
    assert details.startswith("line 11: ")
    assert words in details


def test_kinds_do_not_mix(checked):
    for other in (pair(), {"prompt": "a", "completion": "b"}, {"text": "a", "label": "b"}):
        assert "keep one kind of row in a file" in checked([chat()] * 10 + [other]).details
    assert "keep one kind" in checked([{"text": "a", "label": "b"}] * 10 + [chat()]).details
    assert "line 11: is a chat, and the rows before are preference rows" in checked([pair()] * 10 + [chat()]).details


def test_twenty_rows_are_named_and_the_others_counted(checked):
    verdict = checked([chat()] + [chat(weight=3)] * 50)
    assert verdict.bad_rows == 50
    assert verdict.details.count("line ") == 20
    assert verdict.details.endswith("; and 30 more bad rows")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "line 1: the file ends with 0 rows"),
        (json.dumps(chat()).encode(), "line 1: the file ends with 1 row: a training needs 10"),
        (json.dumps(chat()).encode("utf-16"), "line 1: the file is UTF-16"),
        (b"\x1f\x8b\x08 whatever", "compressed (gzip)"),
        (b"\xff\xfe\x00", "line 1: "),
        (b'[{"messages": []}]', "line 1: is an array, not an object"),
        (b'{"messages": "caf\xe9"}\n' * 12, "line 1: byte 18 is not UTF-8"),
        (b'{"text": "a"}\n' * 12, "line 1: the rows are no chats and no table"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole(checked, data, words):
    assert words in checked(data).details


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"text,label\n" + b"a,b\n" * 10 + b"a,b,c\n", "line 12: has 3 cells, the header has 2"),
        (b"text,label\n" + b"a,b\n" * 10 + b"caf\xe9,b\n", "line 12: holds bytes that are not UTF-8"),
        (b"text,label\n", "there is a header and no row"),
        (b"text,label\na,b\n", "ends with 1 row"),
        (b"a\x00\x01\x02\x03" * 99, "line 1: "),
        (b"\x80\x04\x95 whatever", "this is a pickle"),
        (b"text\n" + b"a\n" * 10, "line 1: "),
    ],
)
def test_bad_tables(checked, data, words):
    details = checked(data, "r.csv").details
    assert words in details
    assert "/" not in details.replace("docs/files.md", ""), "no path of the server"


def test_a_line_without_end_is_not_held_in_memory(checked, monkeypatch):
    monkeypatch.setattr("luthier.app.jsonl_lines.LONGEST_LINE_BYTES", 1000)
    verdict = checked([chat()] * 10 + [chat(user="x" * 5000)] + [chat()])
    assert verdict.details == "line 11: is longer than 1,000 bytes: write one whole JSON object a line"


def test_batch_files_are_json_lines(tmp_path):
    path = tmp_path / "batch.jsonl"
    path.write_text('{"custom_id": "1"}\n{"custom_id": "2"}\n')
    assert check_batch_file(path).facts == {"kind": "batch", "rows": 2}
    path.write_text('{"custom_id": "1"}\nnothing\n')
    assert check_batch_file(path).details.startswith("line 2: is not JSON")
