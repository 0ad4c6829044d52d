"""Files of a workspace that keeps none unmasked: of every purpose, and what cannot be masked is not kept."""

import json

import pytest
from sqlalchemy import insert

from chats import lines
from luthier.app import file_checking, files
from luthier.app.file_masking import FileMasking
from luthier.core.errors import Conflict
from luthier.store.tables import WORKSPACES


@pytest.fixture
def large(store, monkeypatch):
    """A file too large to be checked while it comes."""
    monkeypatch.setattr(files, "CHECKED_AT_ONCE_BYTES", 100)
    return store.create("t.jsonl", "fine-tune", [lines()])


def blobs_of(store):
    return [path for path in store.blobs.root.rglob("*") if path.is_file()]


def set_(store, **settings):
    with store.rows.engine.begin() as connection:
        connection.execute(insert(WORKSPACES), [{"name": store.workspace.name, "settings": settings}])


def test_personal_data_is_masked_where_the_workspace_says_so(store):
    set_(store, mask_files=True)
    info = store.create("t.jsonl", "fine-tune", [lines(text="I am ann{n}@example.com, again ann{n}@example.com")])
    assert info.status == "processed"
    assert info.status_details == "personal data masked: 24 EMAIL"
    content = b"".join(store.content(info.id))
    assert b"example.com" not in content
    assert b"<EMAIL_1>, again <EMAIL_1>" in content
    assert (info.size_bytes, store.facts(info.id)["labels"]) == (len(content), ["a", "b"])
    assert len(blobs_of(store)) == 1


def test_a_masked_table_becomes_jsonl(store):
    set_(store, mask_files=True)
    info = store.create("r.csv", "fine-tune", [b"text,label\n" + b"write to ann@example.com,a\n" * 12])
    assert (info.status, info.filename) == ("processed", "r.jsonl")
    assert json.loads(next(store.content(info.id)).splitlines()[0]) == {"text": "write to <EMAIL_1>", "label": "a"}


def test_a_bad_file_is_not_kept_unmasked(store):
    set_(store, mask_files=True)
    info = store.create("t.jsonl", "fine-tune", [lines(text="ann@example.com"), b'{"role ann@example.com": 1}\n'])
    assert info.status == "error"
    assert "example.com" not in info.status_details
    assert blobs_of(store) == []
    with pytest.raises(Conflict, match="was not kept"):
        store.content(info.id)


@pytest.mark.parametrize("purpose", ["assistants", "batch", "evals", "user_data", "vision"])
def test_files_of_every_purpose_are_masked_where_the_workspace_says_so(store, purpose):
    set_(store, mask_files=True)
    row = {
        "custom_id": "ann@example.com",
        "body": {"messages": [{"role": "user", "content": "I am ann@example.com", "id": "bob@example.com"}]},
    }
    info = store.create("t.jsonl", purpose, [json.dumps(row | {"bob@example.com": 4111111111111111, "n": 3}).encode()])
    assert (info.status, info.status_details) == ("processed", "personal data masked: 4 EMAIL, 1 CARD")
    masked = {"role": "user", "content": "I am <EMAIL_1>", "id": "<EMAIL_2>"}
    kept = {"custom_id": "<EMAIL_1>", "body": {"messages": [masked]}, "<EMAIL_2>": "<CARD_1>", "n": 3}
    assert json.loads(b"".join(store.content(info.id))) == kept
    assert len(blobs_of(store)) == 1


def test_a_table_of_another_purpose_is_masked_too(store):
    set_(store, mask_files=True)
    info = store.create("people.csv", "user_data", [b"name,id\nann,ann@example.com\nbob,bob@example.com\n"])
    assert (info.status, info.filename) == ("processed", "people.jsonl")
    assert b"".join(store.content(info.id)).splitlines()[0] == b'{"name": "ann", "id": "<EMAIL_1>"}'


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("letter.txt", b"ann@example.com writes\n"),
        ("page.pdf", b"%PDF-1.7 ann@example.com"),
        ("photo.jpg", b"\xff\xd8\xff\xe0"),
        ("rows.jsonl", b'{"a": "ann@example.com"}\nann@example.com\n'),
        ("rows.csv", b"a,b\n\x00"),
        ("table.parquet", b"PAR1 ann@example.com"),
        ("upload", b"ann@example.com"),
    ],
)
def test_what_cannot_be_masked_is_not_kept(store, name, data):
    set_(store, mask_files=True)
    info = store.create(name, "user_data", [data])
    assert info.status == "error"
    assert "keeps no file unmasked" in info.status_details
    assert "example.com" not in info.status_details
    assert blobs_of(store) == []
    with pytest.raises(Conflict, match="was not kept"):
        store.content(info.id)


def test_files_of_other_purposes_stay_as_they_are_where_nothing_is_masked(store):
    info = store.create("photo.jpg", "vision", [b"\xff\xd8\xff\xe0"])
    assert (info.status, b"".join(store.content(info.id))) == ("processed", b"\xff\xd8\xff\xe0")
    made = store.put("file-" + "0" * 24, "step_metrics.csv", "fine-tune-results", b"step\n1\n")
    set_(store, mask_files=True)
    assert store.put("file-" + "1" * 24, "step_metrics.csv", "fine-tune-results", b"step\n1\n").status == made.status == "processed"


def test_a_defect_in_a_check_leaves_nothing_unmasked(store, monkeypatch):
    set_(store, mask_files=True)
    monkeypatch.setattr(file_checking, "check_training_file", lambda *_: 1 / 0)
    info = store.create("t.jsonl", "fine-tune", [lines(text="ann@example.com")])
    assert info.status == "error"
    assert blobs_of(store) == []


def test_columns_are_masked_whatever_they_are_called_and_pictures_are_named(store):
    set_(store, mask_files=True)
    table = store.create("r.csv", "fine-tune", [b"text,id,type\n" + b"hello,ann@example.com,+49 30 12345678\n" * 12])
    assert json.loads(next(store.content(table.id)).splitlines()[0]) == {"text": "hello", "id": "<EMAIL_1>", "type": "<PHONE_1>"}
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    rows = [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, picture]}, {"role": "assistant", "content": c}]}
        for c in "ab" * 6
    ]
    info = store.create("t.jsonl", "fine-tune", [b"".join(json.dumps(row).encode() + b"\n" for row in rows)])
    assert (info.status, info.status_details) == ("processed", "personal data masked: none found; not masked: 12 pictures")


def test_an_unmasked_file_is_not_shown(store, large):
    set_(store, mask_files=True)
    with pytest.raises(Conflict, match="not masked yet"):
        store.content(large.id)
    store.check_pending()
    assert next(store.content(large.id))


def test_spans_move_with_the_text_that_is_masked():
    text = "ann@example.com asks for lamp B-7 in Rome"
    spans = [{"start": 25, "end": 33, "label": "product", "value": "lamp B-7"}, {"start": 37, "end": 41, "label": "city"}]
    for form in (spans, json.dumps(spans)):
        row = FileMasking(training=False)._row({"id": 3, "text": text, "entities": form})
        found = json.loads(row["entities"]) if isinstance(form, str) else row["entities"]
        assert row["text"] == "<EMAIL_1> asks for lamp B-7 in Rome"
        assert [row["text"][one["start"] : one["end"]] for one in found] == ["lamp B-7", "Rome"]
        assert (found[0]["value"], row["id"]) == ("lamp B-7", 3)


def test_spans_of_no_text_and_of_masked_words():
    whole = FileMasking(training=False)._row(
        {"text": "ann@example.com", "spans": [{"start": 0, "end": 15, "label": "email", "value": "ann@example.com"}]}
    )
    assert whole == {"text": "<EMAIL_1>", "spans": [{"start": 0, "end": 9, "label": "email", "value": "<EMAIL_1>"}]}
    nowhere = {"text": "short", "spans": [{"start": 0, "end": 99, "label": "x"}]}
    assert FileMasking(training=False)._row(nowhere) == nowhere
