"""Files: whole or not at all, checked under a lease, kept from others, expired, refused to go while a job needs them; masked if asked."""

import secrets
import threading
import time

import pytest
from sqlalchemy import insert, select, update

from chats import lines
from luthier.app import file_checking, file_rows, files
from luthier.app.file_names import clean_filename
from luthier.app.files import Files
from luthier.core.errors import Conflict, Damaged, InputError, NoSpace, QuotaExceeded, UnknownName
from luthier.store.tables import FILES, TUNINGS, WORKSPACES
from luthier.store.workspace import Workspace


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


def test_no_lease_is_left(store, large):
    store.create("u.jsonl", "fine-tune", [lines()])
    store.check_pending()
    with store.rows.engine.connect() as connection:
        assert set(connection.execute(select(FILES.c.lease_token)).scalars()) == {""}
