"""Files: whole or not at all, checked under a lease, kept from others, expired, refused to go while a job needs them; masked if asked."""

import json
import secrets
import threading
import time

import pytest
from sqlalchemy import insert, select, update

from luthier.app import file_checking, file_rows, files
from luthier.app.file_names import clean_filename
from luthier.app.files import Files
from luthier.core import registry
from luthier.core.errors import Conflict, Damaged, InputError, NoSpace, QuotaExceeded, UnknownName
from luthier.store.tables import FILES, TUNINGS, WORKSPACES
from luthier.store.workspace import Workspace


def lines(count=12, text="message {n}", reply="ab"):
    rows = [
        {"messages": [{"role": "user", "content": text.format(n=n)}, {"role": "assistant", "content": reply[n % len(reply)]}]}
        for n in range(count)
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture
def store(tmp_path):
    return Files(Workspace(tmp_path / "home"))


def blobs_of(store):
    return [path for path in store.blobs.root.rglob("*") if path.is_file()]


def set_(store, **settings):
    with store.rows.engine.begin() as connection:
        connection.execute(insert(WORKSPACES), [{"name": store.workspace.name, "settings": settings}])


def job(store, training="", validation="", state="queued"):
    row = {"id": f"ftjob-{secrets.token_hex(12)}", "workspace": store.workspace.name, "state": state, "model": "m", "seed": 1}
    with store.rows.engine.begin() as connection:
        connection.execute(insert(TUNINGS), [row | {"training_file": training or "file-x", "validation_file": validation}])
    return row["id"]


def test_a_good_file(store):
    data = lines()
    info = store.create("train.jsonl", "fine-tune", [data[:100], data[100:]])
    assert (info.status, info.status_details, info.size_bytes, info.filename) == ("processed", "", len(data), "train.jsonl")
    assert store.facts(info.id)["labels"] == ["a", "b"]
    assert b"".join(store.content(info.id)) == data
    assert store.path(info.id).read_bytes() == data
    assert store.path(info.id).suffix == ".jsonl"
    assert info.as_object()["expires_at"] is None
    store.delete(info.id)
    assert blobs_of(store) == []
    with pytest.raises(UnknownName):
        store.get(info.id)


def test_a_bad_file_says_its_rows(store):
    info = store.create("t.jsonl", "fine-tune", [lines(17), b'{"messages": [{"role": "asistant", "content": "a"}]}\n'])
    assert info.status == "error"
    assert info.status_details == "line 18: messages[0].role is 'asistant': did you mean 'assistant'?"
    assert info.facts == {}


def test_other_purposes_may_be_anything_and_batches_are_json_lines(store):
    assert store.create("a.bin", "user_data", [b"\x00\xff"]).status == "processed"
    assert store.create("b.jsonl", "batch", [b"{}\n{\n"]).status_details.startswith("line 2: is not JSON")
    assert store.create("results.csv", "fine-tune-results", [b"step\n1\n"]).status == "processed"


@pytest.mark.parametrize(
    ("purpose", "data", "expires", "words"),
    [
        ("fine_tune", b"a", None, "no purpose 'fine_tune'"),
        ("fine-tune", b"", None, "the file is empty"),
        ("fine-tune", b"a", {"anchor": "now", "seconds": 3600}, "expires_after.anchor"),
        ("fine-tune", b"a", {"anchor": "created_at", "seconds": 3599}, "expires_after.seconds"),
        ("fine-tune", b"a", {"anchor": "created_at", "seconds": 2_592_001}, "expires_after.seconds"),
        ("fine-tune", b"a", {"seconds": True}, "expires_after.seconds"),
    ],
)
def test_wrong_requests_leave_nothing(store, purpose, data, expires, words):
    with pytest.raises(InputError, match=words):
        store.create("t.jsonl", purpose, [data], expires)
    assert blobs_of(store) == []
    assert store.list().files == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\train.jsonl", "train.jsonl"),
        ("", "upload"),
        ("..", "upload"),
        ("a/", "upload"),
        ("a\0b\n\u202e.jsonl", "ab.jsonl"),
        ("half \ud83d.csv", "half .csv"),
        ("ü" * 300 + ".jsonl", "ü" * 124 + ".jsonl"),
    ],
)
def test_file_names(given, kept):
    assert clean_filename(given) == kept
    assert len(kept.encode()) <= 255


def test_lists_go_on_behind_a_file(store):
    ids = [store.create(f"{n}", "user_data", [b"x"]).id for n in range(5)]
    store.create("other", "vision", [b"x"])
    assert [info.id for info in store.list("user_data").files] == ids[::-1]
    page = store.list("user_data", 2, "asc")
    assert ([info.id for info in page.files], page.has_more) == (ids[:2], True)
    page = store.list("user_data", 3, "asc", page.files[-1].id)
    assert ([info.id for info in page.files], page.has_more) == (ids[2:], False)
    with pytest.raises(UnknownName):
        store.list(after="file-" + "0" * 24)
    with pytest.raises(UnknownName):
        store.get("file-\0")


def test_workspaces_do_not_see_each_other(store):
    info = store.create("t.jsonl", "fine-tune", [lines()])
    other = Files(Workspace(store.workspace.root, "other"))
    for asked in (other.get, other.content, other.path, other.delete, other.facts, other.check):
        with pytest.raises(UnknownName):
            asked(info.id)
    assert other.list().files == []
    assert store.get(info.id) == info


def test_a_file_that_a_job_needs_stays(store):
    info = store.create("t.jsonl", "fine-tune", [lines()], {"anchor": "created_at", "seconds": 3600})
    needed = job(store, validation=info.id, state="paused")
    with pytest.raises(Conflict, match=needed):
        store.delete(info.id)
    with store.rows.engine.begin() as connection:
        connection.execute(update(FILES).values(expires_at=1.0))
    assert store.expire() == 0
    assert store.get(info.id).id == info.id
    with store.rows.engine.begin() as connection:
        connection.execute(update(TUNINGS).values(state="failed"))
    assert store.expire() == 1
    assert blobs_of(store) == []


def test_time_is_over_at_once_also_without_a_worker(store):
    info = store.create("t", "user_data", [b"x"], {"anchor": "created_at", "seconds": 3600})
    assert info.expires_at == pytest.approx(info.created_at + 3600)
    with store.rows.engine.begin() as connection:
        connection.execute(update(FILES).values(expires_at=time.time() - 1))
    assert store.list().files == []
    with pytest.raises(UnknownName):
        store.get(info.id)
    assert blobs_of(store) == []


def test_quota_before_and_while_the_bytes_come(store):
    set_(store, storage_bytes=1000)
    store.create("a", "user_data", [b"x" * 600])
    drawn = []

    def chunks():
        for _ in range(10):
            drawn.append(1)
            yield b"x" * 300

    with pytest.raises(QuotaExceeded, match="1,000"):
        store.create("b", "user_data", chunks())
    assert len(drawn) == 2
    store.create("c", "user_data", [b"x" * 400])
    with pytest.raises(QuotaExceeded):
        store.create("d", "user_data", iter([]))
    assert len(blobs_of(store)) == 2
    assert Files(Workspace(store.workspace.root, "other")).create("e", "user_data", [b"x" * 2000]).size_bytes == 2000


def test_two_uploads_at_once_do_not_pass_the_quota(store):
    set_(store, storage_bytes=1000)
    gate, refused = threading.Barrier(2), []

    def upload():
        with store.incoming() as coming:
            coming.write(b"x" * 600)
            gate.wait()
            try:
                store.keep(coming, "a", "user_data")
            except QuotaExceeded:
                refused.append(1)

    threads = [threading.Thread(target=upload) for _ in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert refused
    assert store.rows.used_bytes() <= 1000
    assert len(blobs_of(store)) == 2 - len(refused)


def test_a_full_disk_leaves_nothing(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("luthier.store.blobs.os.fsync", full)
    with pytest.raises(NoSpace):
        store.create("t.jsonl", "fine-tune", [lines()])
    assert blobs_of(store) == []
    assert store.list().files == []


# -- checks under a lease -----------------------------------------------------------------------------------------------


@pytest.fixture
def large(store, monkeypatch):
    """A file too large to be checked while it comes."""
    monkeypatch.setattr(files, "CHECKED_AT_ONCE_BYTES", 100)
    return store.create("t.jsonl", "fine-tune", [lines()])


def test_large_files_are_checked_later_once(store, large):
    assert large.status == "uploaded"
    assert store.facts(large.id) == {}
    assert store.check_pending() == 1
    assert store.get(large.id).status == "processed"
    assert store.check_pending() == 0


def test_a_thread_checks_what_waits(store, large):
    store.check_soon()
    end = time.monotonic() + 10
    while store.get(large.id).status == "uploaded" and time.monotonic() < end:
        time.sleep(0.02)
    assert store.get(large.id).status == "processed"


def test_a_living_checkers_file_is_left_and_a_killed_ones_taken(store, large):
    claimed = store.rows.claim_next()
    assert claimed.info.id == large.id
    assert store.rows.claim_next() is None
    with pytest.raises(Conflict, match="is being checked"):
        store.check(large.id)
    with store.rows.engine.begin() as connection:
        connection.execute(update(FILES).values(lease_owner=f"{file_rows.owner().split(':')[0]}:here:999999999:1"))
    assert store.check_pending() == 1
    assert not store.rows.change(claimed, {"status": "error"})
    assert store.get(large.id).status == "processed"


def test_a_slow_check_keeps_its_lease_and_stops_when_it_lost_it(store, large, monkeypatch):
    monkeypatch.setattr(file_checking, "LEASE_S", 0.0)
    claimed = store.rows.claim_next()
    store.checking.check(claimed)
    assert store.get(large.id).status == "processed"
    again = store.rows.claim(large.id)
    store.delete(large.id)
    store.checking.check(again)
    assert store.list().files == []


def test_content_that_is_gone_is_said(store, large):
    store.path(large.id).unlink()
    store.check_pending()
    assert "is gone" in store.get(large.id).status_details
    with pytest.raises(Damaged):
        store.content(large.id)


def test_a_defect_of_ours_ends_the_clients_waiting(store, large, monkeypatch):
    monkeypatch.setattr(file_checking, "check_training_file", lambda *_: 1 / 0)
    store.check_pending()
    assert store.get(large.id).status == "error"
    assert "could not be checked" in store.get(large.id).status_details


def test_a_store_that_does_not_answer_is_asked_again_later(store, large, monkeypatch):
    def down(_name):
        raise file_checking.Overloaded("down")

    with monkeypatch.context() as patched:
        patched.setattr(store.blobs, "local", down)
        store.checking.check(store.rows.claim_next())
    assert store.get(large.id).status == "uploaded"
    assert store.check_pending() == 0, "not at once"
    with store.rows.engine.begin() as connection:
        connection.execute(update(FILES).values(lease_expires_at=0.0))
    assert store.check_pending() == 1


# -- masking ------------------------------------------------------------------------------------------------------------


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


# -- loss mask ------------------------------------------------------------------------------------------------------------


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


def test_a_table_has_no_loss_mask(store):
    info = store.create("r.csv", "fine-tune", [b"text,label\n" + b"x,a\n" * 12])
    with pytest.raises(InputError, match="a table has no messages"):
        store.loss_mask(info.id)
    bad = store.create("t.jsonl", "fine-tune", [b"{"])
    with pytest.raises(InputError, match="is not valid: line 1"):
        store.loss_mask(bad.id)


def test_no_lease_is_left(store, large):
    store.create("u.jsonl", "fine-tune", [lines()])
    store.check_pending()
    with store.rows.engine.connect() as connection:
        assert set(connection.execute(select(FILES.c.lease_token)).scalars()) == {""}
